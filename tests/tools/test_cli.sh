#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The program's own words: help at every level, version, wrong commands.
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1

status 0 "--help" mk --help > got 2> err
none err "--help"
for command in info map scan bench chaos neighbour compile postmortem; do
	has got "  $command " "--help names $command"
	status 0 "$command --help" mk $command --help > help 2> err
	none err "$command --help"
	status 0 "help $command" mk help $command > other 2> err
	same help other "help $command"
	has help "Usage: megakernel $command" "$command --help"
	has help "Examples:" "$command --help"
	awk 'length($0) > 80 { bad = 1 } END { exit bad }' help ||
		fail "$command --help: a line is longer than 80"
	# what the help names is taken, and the other way round
	for option in $(grep -o -e '^  --[a-z-]*' -e ', --[a-z-]*' help |
		tr -d ' ,'); do
		source=$here/../../tools/cmd_$command.c
		grep -aqF -e "\"${option#--}\"" "$source" ||
			{ grep -aq CLI_ENGINE_OPTIONS "$source" &&
			grep -aqF -e "\"${option#--}\"" \
				"$here/../../tools/cli.h"; } ||
			fail "$command has no option $option"
	done
done
status 0 "--version" mk --version > got
grep -Eq '^megakernel [0-9]+\.[0-9]+\.[0-9]+ \(ABI [0-9]+\)$' got ||
	fail "--version: $(cat got)"

usage() {
	text=$1
	shift
	status 2 "$*" mk "$@" > got 2> err
	none got "$*"
	has err "$text" "$*"
	has err "Try 'megakernel" "$*: a hint"
}
usage "a command is missing"
usage "did you mean 'map'" maps
usage "there is no command 'frob'" frob
usage "there is no option '--frob'" --frob
usage "takes no argument" info x
usage "takes no argument" bench x
usage "--workers is '0'" bench --workers 0
usage "--isolation" bench --isolation maybe
usage "--engine is 'gpu', this library has 'cpu'" map count --engine gpu .
usage "--engine is ''" bench --engine ''

status 0 info mk info > got 2> err
none err info
has got "cpu:0" info
has got "ABI " info
has got "ring_entries_max     65536" info
if [ -w /dev/full ]; then
	for command in "info" "info --json" "--help" "map --help" \
		"--version"; do
		# shellcheck disable=SC2086
		status 1 "$command > /dev/full" mk $command \
			> /dev/full 2> err
		has err "No space left on device" "$command > /dev/full"
	done
fi
finish
