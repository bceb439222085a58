# shellcheck shell=bash
# How .ci/e2e/story.sh and .ci/e2e/abuse.sh make programs in several languages. To be sourced after install.sh and
# lib.sh, by a script that sets $here, the directory with a directory for each language, and $languages.
#
# tool_LANGUAGE installs what generates and runs a program, make_LANGUAGE makes that of a copy of its directory, in
# which it runs.

export PATH=$ci/protoc/bin:$PATH
files=(starling/swarm/v1/{swarm,server}.proto starling/livestream/v1/livestream.proto)

tool_go() {
    go_tool protoc-gen-go google.golang.org/protobuf cmd/protoc-gen-go "$protoc_gen_go_version" &&
        go_tool protoc-gen-go-grpc google.golang.org/grpc/cmd/protoc-gen-go-grpc '' "$protoc_gen_go_grpc_version"
}
make_go() {
    # One set of dependencies for all programs.
    cp "$root"/.ci/e2e/story/go/go.{mod,sum} .
    protoc -I "$root/proto" --go_out=gen --go-grpc_out=gen "${files[@]}"
    printf 'module starling.dev/go\n\ngo 1.26\n' >gen/starling.dev/go/go.mod
    go vet . && go build -o program .
}

tool_node() { node_packages .ci/generate/ts-proto; }
make_node() {
    ln -s "$ci/node/ts-proto/node_modules" node_modules
    cp "$root/.ci/e2e/story/node/tsconfig.json" .
    protoc -I "$root/proto" --plugin=node_modules/.bin/protoc-gen-ts_proto --ts_proto_out=gen \
        --ts_proto_opt=outputServices=grpc-js "${files[@]}" google/rpc/status.proto google/rpc/error_details.proto
    node_modules/.bin/tsc
}

tool_java() { :; } # comes with protoc
make_java() {
    protoc -I "$root/proto" --java_out=gen --grpc-java_out=gen "${files[@]}"
    find . -name '*.java' >sources
    # This much code compiles in half the time when the virtual machine does not optimise itself.
    javac -J-XX:TieredStopAtLevel=1 -J-XX:+UseSerialGC -proc:none -d classes -classpath "$ci/java/*" @sources
}

# tools: what all languages need, and what each does.
tools() {
    local language
    echo 'what is needed:'
    mkdir -p "$ci/bin"
    python_packages
    apt_package mvn maven
    java_packages
    for language in "${languages[@]}"; do
        "tool_$language" || fail "what $language needs cannot be had"
    done
}

# made LANGUAGE
made() {
    cp -r "$here/$1" "$scratch/$1"
    mkdir -p "$scratch/$1/gen"
    cd "$scratch/$1"
    "make_$1" || fail "$1 does not compile"
}

# side_by_side STEP: for every language, each in a process of its own; tells what they print, one after the other.
side_by_side() {
    local step=$1 language failed=
    declare -A process=()
    for language in "${languages[@]}"; do
        "$step" "$language" >"$scratch/$language.log" 2>&1 &
        process[$language]=$!
    done
    for language in "${languages[@]}"; do
        wait "${process[$language]}" || failed+=" $language"
        cat "$scratch/$language.log"
    done
    [[ -z $failed ]] || fail "not $step:$failed"
    printf '%s after %d s\n' "$step" "$SECONDS"
}
