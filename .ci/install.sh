# shellcheck shell=bash
# How .ci/run and .ci/generate/run.sh install what is missing, and what both need. To be sourced at the root of the
# repository. Nothing here relies on errexit.

ci=$PWD/target/ci
# shellcheck disable=SC2034 # used where this is sourced
buf_version=v1.75.0
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
