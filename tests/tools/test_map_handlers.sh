#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Handlers of one's own under `map`: a source file, a module file, every kind
# of result, and files that are no handlers. ctest-timeout: 300
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1

mkdir tree
printf '\0a\0b' > tree/one
head -c 600000 /dev/zero > tree/three-chunks
: > tree/two
printf x > "tree/back\\slash"

cat > zeros.c <<'END'
#include <megakernel/handler.h>
#include <megakernel/map.h>

struct zeros { uint64_t seen; };

MK_HANDLER(zeros, struct mk_map_args)
{
	const unsigned char *data = mk_map_data(task, args);
	struct zeros *z = (struct zeros *)mk_map_state(task, args, sizeof(*z));

	if (!data || !z)
		return mk_fail(task);
	for (uint64_t i = 0; i < args->bytes; i++)
		z->seen += data[i] == 0;
	if (mk_map_last(args))
		mk_map_number(task, args, z->seen);
	return MK_OK;
}
END
cat > want <<'END'
\0  tree/back\\slash
2  tree/one
600000  tree/three-chunks
0  tree/two
END
for isolation in process none; do
	mk map --isolation $isolation zeros.c tree > got 2> err
	same want got "source file, $isolation"
	none err "source file, $isolation, stderr"
done
mk map ./zeros.c:zeros tree > got
same want got "FILE:NAME"
mk compile zeros.c > made || fail "compile"
has made "zeros.mkm" "compile names its file"
mk map zeros.mkm tree > got
same want got "module file"
mk compile -o other.mkm zeros.c > made || fail "compile -o"
mk map other.mkm:zeros tree > got
same want got "module file by name"

# all kinds, and results that are none
cat > kinds.c <<'END'
#include <megakernel/handler.h>
#include <megakernel/map.h>

struct none { uint32_t nothing; };

MK_HANDLER(hex, struct mk_map_args)
{
	mk_map_result(task, args, MK_MAP_HEX, "\001\377", 2);
	return MK_OK;
}

MK_HANDLER(text, struct mk_map_args)
{
	mk_map_result(task, args, MK_MAP_TEXT, "some\ntext", 9);
	return MK_OK;
}

MK_HANDLER(columns, struct mk_map_args)
{
	uint64_t all[3] = { 1, 1ull << 63, 3 };

	mk_map_result(task, args, MK_MAP_COLUMNS, all, sizeof(all));
	return MK_OK;
}

/* leaves the state area alone: the value is the result */
MK_HANDLER(value, struct mk_map_args)
{
	mk_value(task, args->bytes + 1);
	return MK_OK;
}

MK_HANDLER(bad_kind, struct mk_map_args)
{
	struct mk_map_state *area = mk_map_area(task, args);

	area->kind = 77;
	area->length = 0xffffffffu;
	return MK_OK;
}

MK_HANDLER(bad_length, struct mk_map_args)
{
	struct mk_map_state *area = mk_map_area(task, args);

	area->kind = MK_MAP_TEXT;
	area->length = 249;
	return MK_OK;
}

MK_HANDLER(refuses, struct mk_map_args)
{
	if (args->bytes == 4)
		return -MK_EACCESS;
	mk_map_number(task, args, 1);
	return MK_OK;
}

/* refuses the second chunk of a file, with more to come */
MK_HANDLER(refuses_later, struct mk_map_args)
{
	mk_map_number(task, args, 1);
	return !mk_map_first(args) && !mk_map_last(args) ? -MK_EACCESS : MK_OK;
}

MK_HANDLER(no_map, struct none)
{
	(void)args;
	(void)task;
	return MK_OK;
}
END
one() {
	mk map "kinds.c:$1" tree/one > got 2> err
	echo "$2" > want
	same want got "$1"
}
one hex "01ff  tree/one"
one text "some\\x0atext  tree/one"
one columns "1 9223372036854775808 3  tree/one"
one value "5  tree/one"
for handler in bad_kind bad_length; do
	status 1 $handler mk map kinds.c:$handler tree/one > got 2> err
	none got $handler
	has err "left no valid result" $handler
done
status 1 refuses mk map kinds.c:refuses tree > got 2> err
grep -v tree/one < want > /dev/null
printf '%s\n' '\1  tree/back\\slash' '1  tree/three-chunks' '1  tree/two' \
	> want
same want got refuses
has err "tree/one: the handler 'refuses' ended with MK_EACCESS" refuses
status 1 refuses_later mk map kinds.c:refuses_later tree > got 2> err
printf '%s\n' '\1  tree/back\\slash' '1  tree/one' '1  tree/two' > want
same want got refuses_later
has err "tree/three-chunks: the handler" refuses_later

# files that map cannot use
usage() {
	text=$1
	shift
	status 2 "$*" mk "$@" > got 2> err
	none got "$*"
	has err "$text" "$*"
}
usage "several handlers, say which by FILE:NAME: " map kinds.c tree
usage "no handler 'absent'" map kinds.c:absent tree
usage "'no_map' takes 4 bytes" map kinds.c:no_map tree
printf '#include <megakernel/handler.h>\nint x = nonsense;\n' > broken.c
usage "broken.c:2:" map broken.c tree
usage "broken.c:2:" compile broken.c
echo "not a module" > bad.mkm
usage "bad.mkm" map bad.mkm tree
usage "FILE.c is missing" compile
usage "takes one file" compile a.c b.c
usage "absent.c" compile absent.c

# the output of compile: a file, and none that is of no use
cat > taken.c <<'END'
#include <megakernel/handler.h>
MK_HANDLER(sha256, struct mk_none)
{
	(void)args;
	(void)task;
	return MK_OK;
}
END
usage "taken.c: a handler named sha256 is built in" compile taken.c
[ ! -e taken.mkm ] || fail "compile leaves a module that nobody can load"
mkfifo pipe
usage "out_path is pipe, which is no regular file" compile -o pipe zeros.c
[ -p pipe ] || fail "compile replaces a pipe"
usage "writing tree: Is a directory" compile -o tree zeros.c
ln -s target.mkm link.mkm
echo old > target.mkm
status 0 "compile -o LINK" mk compile -o link.mkm zeros.c > made
[ -L link.mkm ] || fail "compile replaces a symbolic link"
status 0 "compile -o LINK, its target" mk map target.mkm tree/two > got
[ -z "$(find . -name '*.tmp')" ] || fail "compile leaves temporary files"

# text that is not UTF-8
sed 's/some.ntext", 9/\\377x", 2/' kinds.c > latin.c
mk map latin.c:text tree/one > got
printf '\377x  tree/one\n' > want
same want got "text that is not UTF-8"
mk map --json latin.c:text tree/one > got
has got '"result_hex":"ff78"' "text that is not UTF-8, JSON"
finish
