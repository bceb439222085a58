#!/usr/bin/env bash
# What protoc and buf make of the plain files in proto/ compiles beside the gRPC library of each language, with the few
# lines of a client that everybody writes first.
#
# On a machine that has Go, Python 3, Node.js 20 or newer, a JDK and apt. What else is missing is installed: programs
# and packages below target/ci, in the versions given in install.sh and in the files beside this one, and by apt Maven
# and grpc_python_plugin. A second run installs nothing.
#
# C# is compiled where there is a dotnet, else parsed where there is an mcs; PHP and Ruby are parsed where there is a
# php or a ruby. None of these is installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source-path=SCRIPTDIR source=../install.sh
source .ci/install.sh
here=$PWD/.ci/generate

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() {
    printf '\nFAILED: %s\n' "$*" >&2
    exit 1
}

# ok WHAT: told with the seconds that it took, which are those since the one before.
checked=0
since=${EPOCHREALTIME//[.,]/}
ok() {
    local now=${EPOCHREALTIME//[.,]/} tenths
    tenths=$(((now - since) / 100000))
    since=$now
    checked=$((checked + 1))
    printf '  ok %3d.%d s  %s\n' $((tenths / 10)) $((tenths % 10)) "$*"
}

# generated LANGUAGE OPTIONS...: by protoc, into gen in a directory of its own that has a copy of .ci/generate/LANGUAGE.
generated() {
    local language=$1
    shift
    mkdir -p "$scratch/$language/gen"
    [[ ! -d $here/$language ]] || cp -r "$here/$language/." "$scratch/$language"
    (cd "$scratch/$language" && "${protoc[@]}" -I "$proto" "$@" "${files[@]}")
    [[ -n $(find "$scratch/$language/gen" -type f -print -quit) ]] || fail "protoc made nothing for $language"
}

# same LANGUAGE [BELOW]: buf makes the same as protoc made below gen, but for the version of protoc, names for JSON in
# comments, and the text of the descriptor within.
same() {
    local language=$1 below=${2:-}
    local plain='/protoc +(v[0-9.]+|\(?unknown\)?)$/d; s/ \[json_name = "[^"]*"\]//; /^ *"/d'
    local by_protoc=$scratch/$language/gen/$below by_buf=$scratch/buf/gen/$language
    cp -r "$by_protoc" "$scratch/$language.protoc"
    cp -r "$by_buf" "$scratch/$language.buf"
    find "$scratch/$language.protoc" "$scratch/$language.buf" -type f -print0 | xargs -0 sed -E -i "$plain"
    diff --recursive "$scratch/$language.protoc" "$scratch/$language.buf" >"$scratch/differences" ||
        fail "buf makes something else than protoc for $language: $(head -n 20 "$scratch/differences")"
}

echo 'what is needed:'
mkdir -p "$ci/bin"
go_tool buf github.com/bufbuild/buf cmd/buf "$buf_version"
go_tool protoc-gen-go google.golang.org/protobuf cmd/protoc-gen-go "$protoc_gen_go_version"
go_tool protoc-gen-go-grpc google.golang.org/grpc/cmd/protoc-gen-go-grpc '' "$protoc_gen_go_grpc_version"
python_packages
apt_package mvn maven
java_packages
node_packages .ci/generate/ts-proto
node_packages .ci/generate/connect-es
apt_package grpc_python_plugin protobuf-compiler-grpc
export PATH=$ci/protoc/bin:$ci/node/ts-proto/node_modules/.bin:$ci/node/connect-es/node_modules/.bin:$PATH
ok 'what is needed is there'

printf '%s, buf %s\n' "$(protoc --version)" "$(buf --version)"
proto=$PWD/proto
mapfile -t files < <(cd proto && find . -name '*.proto' -printf '%P\n' | sort)
protoc=(protoc)

shown=$("$ci/venv/bin/python" "$here/snippets.py") || fail 'docs/clients is not what is compiled'
ok "docs/clients: $shown pieces of the clients"

buf generate --output "$scratch/buf"
ok 'buf generate'

generated go --go_out=gen --go-grpc_out=gen
same go starling.dev/go
# The path in go_package is a module here.
printf 'module starling.dev/go\n\ngo 1.26\n' >"$scratch/go/gen/starling.dev/go/go.mod"
(cd "$scratch/go" && go build ./... starling.dev/go/... && go vet ./... starling.dev/go/...)
ok 'Go: go build, go vet'

generated java --java_out=gen --grpc-java_out=gen
same java
find "$scratch/java" -name '*.java' >"$scratch/java/sources"
# This much code compiles in half the time when the virtual machine does not optimise itself.
javac -J-XX:TieredStopAtLevel=1 -J-XX:+UseSerialGC -proc:none \
    -d "$scratch/java/classes" -classpath "$ci/java/*" "@$scratch/java/sources"
ok 'Java: javac'

protoc=("$ci/venv/bin/python" -m grpc_tools.protoc)
generated python --python_out=gen --pyi_out=gen --grpc_python_out=gen
protoc=(protoc)
for gen in "$scratch/python/gen" "$scratch/buf/gen/python"; do
    PYTHONPATH=$gen PYTHONDONTWRITEBYTECODE=1 "$ci/venv/bin/python" "$here/python/check.py"
done
ok 'Python: imported, and talked to itself'

# typescript LANGUAGE TITLE: the compiler of the package-lock.json there.
typescript() {
    same "$1"
    ln -s "$ci/node/$1/node_modules" "$scratch/$1/node_modules"
    (cd "$scratch/$1" && node_modules/.bin/tsc --strict --noEmit)
    ok "$2: tsc --strict"
}
generated ts-proto --ts_proto_out=gen --ts_proto_opt=outputServices=grpc-js
typescript ts-proto 'TypeScript by ts-proto, for grpc-js'
generated connect-es --es_out=gen --es_opt=target=ts
typescript connect-es 'TypeScript by protobuf-es, for Connect'

generated csharp --csharp_out=gen
same csharp
if command -v dotnet >/dev/null; then
    # Grpc.Tools generates once more, stubs too.
    rm -r "$scratch/csharp/gen"
    (cd "$scratch/csharp" && dotnet build -p:Protos="$proto")
    ok 'C#: dotnet build'
elif command -v mcs >/dev/null; then
    mcs --parse "$scratch"/csharp/Client.cs "$scratch"/csharp/gen/*.cs
    ok 'C#: parsed, not compiled'
else
    ok 'C#: generated, not compiled'
fi

generated php --php_out=gen
if command -v php >/dev/null; then
    find "$scratch/php/gen" -name '*.php' -print0 | xargs -0 -n 1 -P 2 php -l >"$scratch/php.log" ||
        fail "$(cat "$scratch/php.log")"
    ok 'PHP: php -l'
else
    ok 'PHP: generated, not parsed'
fi

generated ruby --ruby_out=gen
if command -v ruby >/dev/null; then
    find "$scratch/ruby/gen" -name '*.rb' -print0 | xargs -0 -n 1 ruby -c >"$scratch/ruby.log" ||
        fail "$(cat "$scratch/ruby.log")"
    ok 'Ruby: ruby -c'
else
    ok 'Ruby: generated, not parsed'
fi

generated objc --objc_out=gen
ok 'Objective-C: generated, not compiled'

printf '%s checks passed in %d s\n' "$checked" "$SECONDS"
