#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `map sha256` is sha256sum, line for line. ctest-timeout: 300
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1

odd_tree tree
files_of tree > list
xargs -0 sha256sum < list > want

for isolation in process none; do
	mk map --isolation $isolation sha256 tree > got 2> err
	same want got "odd tree, $isolation"
	none err "odd tree, $isolation, stderr"
done
for n in 1 3; do
	mk map --readers $n --workers $n sha256 tree > got
	same want got "odd tree, $n readers and workers"
done

# few descriptors: directories are opened by their paths
(ulimit -n 40; mk map --isolation none sha256 tree) > got
same want got "odd tree, 40 descriptors"

# arguments stay in their order; links are followed, directories walked
cd tree || exit 1
sha256sum a0 a/link size64 > ../want
files_of a.b/ . | xargs -0 sha256sum >> ../want
sha256sum -- -dash size65 >> ../want
mk map sha256 a0 a/link size64 a.b/ . -- -dash size65 > ../got
cd ..
same want got "arguments"

# standard input, in both of its shapes
sha256sum tree/a0 - tree/a0 < tree/size524289 > want
mk map sha256 tree/a0 - tree/a0 < tree/size524289 > got
same want got "standard input from a file"
(sleep 0.1; cat tree/size3000000; sleep 0.1; echo end) |
	mk map sha256 - tree/a0 > got
(cat tree/size3000000; echo end) | sha256sum - tree/a0 > want
same want got "standard input from a pipe"

# pipes by name
mkfifo named
timeout 60 sh -c 'cat tree/size262145 > named' &
mk map sha256 named > got
sha256sum < tree/size262145 | sed 's/-$/named/' > want
same want got "a pipe by name"
wait

# a directory with nothing in it, and one that is nothing but directories
mk map sha256 tree/empty > got 2>&1 || fail "empty directory"
none got "empty directory"

# more files than fit between reading and printing
mkdir many
seq 40000 | split -l 2 -a 4 - many/f
files_of many | xargs -0 sha256sum > want
mk map sha256 many > got
same want got "20,000 files"

# more large files than there is memory for at once
mkdir large
head -c 40000000 /dev/urandom | split -b 400000 -a 3 - large/f
: > large/fzz
files_of large | xargs -0 sha256sum > want
mk map --readers 3 sha256 large > got
same want got "100 large files"

if [ -d /usr/include ]; then
	files_of /usr/include | xargs -0 sha256sum > want
	mk map sha256 /usr/include > got
	same want got "/usr/include"
fi
finish
