#!/bin/sh
# chroot.sh DIR COMMAND: runs a shell's command as root in a copy of this system that is thrown away: an overlay, with its own /dev, /run and /sys,
# and /proc/sys for reading only. DIR is /mnt there. Exits with 77 if there can be no such copy.
if [ -z "$KT_CHROOT_INSIDE" ]; then
  [ "$(id -u)" = 0 ] && unshare --mount --pid --fork true 2>/dev/null || exit 77
  KT_CHROOT_INSIDE=1 exec unshare --mount --pid --fork --kill-child --propagation private sh "$0" "$@"
fi
own=/mnt
mount -t tmpfs none "$own" && mkdir "$own/upper" "$own/work" "$own/root" || exit 77
root=$own/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$own/upper,workdir=$own/work" "$root" 2>/dev/null || exit 77
for folder in dev run sys tmp; do mount -t tmpfs -o mode=1777 none "$root/$folder" || exit 77; done
for device in null zero random urandom; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device" || exit 77
done
mount -t proc proc "$root/proc" && mount --bind /proc/sys "$root/proc/sys" && mount -o remount,bind,ro "$root/proc/sys" || exit 77
mount --bind "$1" "$root/mnt" || exit 77
exec chroot "$root" sh -ec "cd / && $2"
