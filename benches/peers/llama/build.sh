#!/bin/sh
# Builds llama.cpp's Vulkan backend and the program that times it. The compiler of its shaders, `glslc`, must know
# cooperative matrices and integer dot products; that of Debian 12 does not. So everything is built in a newer Debian:
#
#   llama/build.sh ROOT    ROOT: a Debian 13 as `cargo xtask test` makes one in target/newest-mesa; needs root
#   llama/build.sh /       on this system, where glslc, the Vulkan and SPIR-V headers, cmake, ninja and g++ are new
#
# What is built in a root runs outside it, on this system's Vulkan driver, with the root's C library.
set -eu
root=$(cd "${1:?usage: llama/build.sh ROOT}" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
target=$(cd "$here/.." && realpath -m "${CARGO_TARGET_DIR:-target}")
work=/var/tmp/wattle-llama-peer

# cargo fetches the sources and checks them against the lock file.
manifest=$(cargo metadata --locked --format-version 1 --manifest-path "$here/../Cargo.toml" |
    grep -o '"[^"]*/llama-cpp-sys-2-[^"/]*/Cargo.toml"' | head -n 1 | tr -d '"')
inside="${root%/}$work"
mkdir -p "$inside" "$target/llama"
cp -rp "$(dirname "$manifest")/llama.cpp/ggml" "$here/CMakeLists.txt" "$here"/*.h "$here/main.cpp" "$inside"

build="cmake -G Ninja -B $work/build $work && cmake --build $work/build --target llama-peer ${JOBS:+-j $JOBS}"
program="$inside/build/llama-peer"
rm -f "$target/llama/llama-peer"
if [ "$root" = / ]; then
    sh -c "$build"
    cp "$program" "$target/llama/llama-peer"
else
    tools="glslc libvulkan-dev spirv-headers cmake ninja-build g++"
    chroot "$root" sh -c "export DEBIAN_FRONTEND=noninteractive
        apt-get -q update && apt-get -q install -y --no-install-recommends $tools && $build"
    lib=$(echo "$root"/usr/lib/*-linux-gnu)
    loader=$(echo "$lib"/ld-linux-*.so.?)
    printf '#!/bin/sh\nexec "%s" --library-path "%s" "%s"\n' "$loader" "$lib" "$program" > "$target/llama/llama-peer"
    chmod +x "$target/llama/llama-peer"
fi
