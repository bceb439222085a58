# shellcheck shell=bash
# How .ci/run, .ci/generate/run.sh, .ci/e2e/story.sh and .ci/e2e/abuse.sh install what is missing, and what they have in common. To be
# sourced at the root of the repository. Nothing here relies on errexit.

ci=$PWD/target/ci
# shellcheck disable=SC2034 # used where this is sourced
buf_version=v1.75.0
# shellcheck disable=SC2034
protoc_gen_go_version=v1.36.12
# shellcheck disable=SC2034
protoc_gen_go_grpc_version=v1.6.2
maven_dependency_plugin_version=3.9.0
export PATH=$ci/bin:$PATH

# go_tool NAME MODULE PACKAGE VERSION: below target/ci/bin, unless it is there in that version. PACKAGE is '' where the
# module itself is the program.
go_tool() {
    local name=$1 module=$2 package=$3 version=$4 built
    built=$(go version -m "$ci/bin/$name" 2>/dev/null || true)
    if grep -qE "^[[:space:]]+mod[[:space:]]+${module}[[:space:]]+${version}([[:space:]]|\$)" <<<"$built"; then
        echo "$name $version is there"
    else
        echo "installing $name $version"
        GOBIN=$ci/bin go install "$module${package:+/$package}@$version"
    fi
}

python_packages() {
    if cmp -s .ci/requirements.txt "$ci/venv/installed.txt"; then
        echo 'the Python packages are there'
        return
    fi
    echo 'installing the Python packages'
    rm -rf "$ci/venv" &&
        python3 -m venv "$ci/venv" &&
        "$ci/venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: \
            --requirement .ci/requirements.txt &&
        cp .ci/requirements.txt "$ci/venv/installed.txt"
}

# apt_package PROGRAM PACKAGE: the package that has the program, unless that is there.
apt_package() {
    local program=$1 package=$2
    if command -v "$program" >/dev/null; then
        echo "$program is there"
        return
    fi
    echo "installing $package"
    apt-get update -qq &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >"$ci/apt.log" 2>&1 && return
    tail -n 20 "$ci/apt.log"
    return 1
}

# protoc and the jars come as one lot from Maven, and protoc gets the files of Google beside it, as in its releases.
java_packages() {
    local pom=.ci/generate/java/pom.xml platform
    if cmp -s "$pom" "$ci/java/pom.xml"; then
        echo 'protoc and the Java packages are there'
        return
    fi
    echo 'installing protoc and the Java packages'
    case $(uname -m) in
        x86_64) platform=linux-x86_64 ;;
        aarch64) platform=linux-aarch_64 ;;
        *) echo "no protoc for $(uname -m)"; return 1 ;;
    esac
    rm -rf "$ci/java" "$ci/protoc" &&
        mkdir -p "$ci/bin" "$ci/java" "$ci/protoc/bin" "$ci/protoc/include" || return
    mvn --batch-mode --quiet --file "$pom" -Dplatform="$platform" -DoutputDirectory="$ci/java" \
        "org.apache.maven.plugins:maven-dependency-plugin:$maven_dependency_plugin_version:copy-dependencies" \
        >"$ci/maven.log" 2>&1 || { cat "$ci/maven.log"; return 1; }
    mv "$ci"/java/protoc-gen-grpc-java-*.exe "$ci/bin/protoc-gen-grpc-java" &&
        mv "$ci"/java/protoc-*.exe "$ci/protoc/bin/protoc" &&
        chmod +x "$ci/bin/protoc-gen-grpc-java" "$ci/protoc/bin/protoc" &&
        (cd "$ci/protoc/include" &&
            jar --extract --file "$ci"/java/protobuf-java-*.jar google/protobuf &&
            jar --extract --file "$ci"/java/proto-google-common-protos-*.jar google/rpc) &&
        cp "$pom" "$ci/java/pom.xml"
}

# node_packages DIRECTORY: what the package-lock.json there names.
node_packages() {
    local name
    name=$(basename "$1")
    if cmp -s "$1/package-lock.json" "$ci/node/$name/installed.json"; then
        echo "the Node.js packages of $name are there"
        return
    fi
    echo "installing the Node.js packages of $name"
    rm -rf "$ci/node/$name" &&
        mkdir -p "$ci/node/$name" &&
        cp "$1/package.json" "$1/package-lock.json" "$ci/node/$name" &&
        npm ci --prefix "$ci/node/$name" --ignore-scripts --no-audit --no-fund --silent &&
        cp "$1/package-lock.json" "$ci/node/$name/installed.json"
}
