#!/usr/bin/env bash
# Builds the image xds on a bare Debian machine, as root: mmdebstrap makes its bases, buildah builds on them.
# No daemon, no registry of images: storage "vfs" and isolation "chroot" work inside other containers, too.
#   deploy/image.sh [FOLDER]      the folder keeps bases and images; .image beside the sources if none is given
# What is printed at the end runs it, or takes it elsewhere.  SUITE is Debian's release, bookworm if it is not set.
set -euo pipefail
umask 022
cd "$(dirname "$0")/.."
folder="$(realpath -m "${1:-.image}")"
suite="${SUITE:-bookworm}"
for program in mmdebstrap buildah; do
  command -v "$program" >/dev/null || { echo "$program is missing: apt-get install mmdebstrap buildah" >&2; exit 1; }
done
mkdir -p "$folder"
store=(buildah --root "$folder/storage" --runroot "$folder/run" --storage-driver vfs)

is_there() { "${store[@]}" inspect --type image "localhost/$1" >/dev/null 2>&1; }

# commit NAME: the folder of that name becomes an image of one layer, and goes.
commit() {
  local made
  made="$("${store[@]}" from scratch)"
  "${store[@]}" add --quiet "$made" "$folder/$1" / >/dev/null
  "${store[@]}" commit --quiet --rm "$made" "localhost/$1" >/dev/null
  rm -rf "${folder:?}/$1"
}

if ! is_there xds-build; then
  mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,ca-certificates,binutils \
    --format=directory "$suite" "$folder/xds-build"
  commit xds-build
fi

# The base at run time: packages are unpacked and never set up, so that there is no shell, no apt and no dpkg in it.
# What is needed of their setting up is done here: the authorities' one file, and Python's own modules compiled.
if ! is_there xds-base-2; then
  root="$folder/xds-base-2"
  mmdebstrap --quiet --variant=extract --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
    --include=python3-minimal,libpython3-stdlib,libstdc++6,ca-certificates,netbase,base-files \
    --format=directory "$suite" "$root"
  cat "$root"/usr/share/ca-certificates/mozilla/*.crt > "$root/etc/ssl/certs/ca-certificates.crt"
  (
    cd "$root"
    rm -rf usr/lib/python3.*/{test,pydoc_data} var/cache/* var/lib/* etc/{apt,dpkg,hostname,resolv.conf,fstab}
    rm -rf usr/share/{doc,man,info,locale,lintian,zoneinfo,ca-certificates,perl5,bash-completion}
    rm -f usr/{bin,sbin}/{*dpkg*,*debconf*,*certificates*,tar,rmt-tar,mawk,start-stop-daemon,update-alternatives}
    chroot . /usr/bin/python3 -m compileall -q usr/lib/python3.*
  )
  # Of PostgreSQL's client what xds backup and xds restore call, and the libraries that those need.
  client="$folder/xds-client"
  rm -rf "$client"
  mmdebstrap --quiet --variant=extract --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
    --include=postgresql-client --format=directory "$suite" "$client"
  for program in pg_dump pg_restore pg_basebackup; do
    cp "$client"/usr/lib/postgresql/*/bin/"$program" "$root/usr/bin/"
    loader="$(cd "$client" && ls lib*/ld-linux-*.so.* | head -1)"
    cp "$root/usr/bin/$program" "$client/usr/bin/"
    chroot "$client" "/$loader" --list "/usr/bin/$program" | awk '$2 == "=>" { print $3 }' | while read -r library; do
      [ -e "$root$library" ] || cp -L "$client$library" "$root$library"
    done
  done
  rm -rf "$client"
  commit xds-base-2
fi

# pip inside asks the same index as outside, by the same authorities.
given=()
for file in /etc/pip.conf /etc/ssl/certs; do
  if [ -e "$file" ]; then given+=(--volume "$file:$file:ro"); fi
done
"${store[@]}" build --quiet --isolation chroot --network host "${given[@]}" \
  --build-arg BUILD=localhost/xds-build --build-arg BASE=localhost/xds-base-2 \
  --format docker --file deploy/Containerfile --tag localhost/xds . >/dev/null  # OCI's format has no health check
echo "${store[*]} push localhost/xds docker-archive:xds.tar:xds"
