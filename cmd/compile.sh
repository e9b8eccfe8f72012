#!/bin/sh
# Compiles a program for make: sh cmd/compile.sh NAME PACKAGE. It shows what takes so long: in a
# terminal with a clock, elsewhere in one line. What Go prints, such as the modules that it downloads,
# is shown if it fails.
command -v go >/dev/null || exec sh internal/terraform/project/tools.sh
what="compiling $1 (about a minute the first time)"
log=.local/compile-$1.log
mkdir -p .local

# The clock and not the compiler is in the background: Ctrl-C does not reach what is there.
clock() {
	seconds=0
	while sleep 1 >/dev/null 2>&1; do
		seconds=$((seconds + 1))
		if [ -t 2 ]; then
			printf '\r\033[K%s %s s' "$what" $seconds >&2
		else
			echo "$what" >&2
			return
		fi
	done
}
clock &
clock=$!
stop() {
	kill $clock 2>/dev/null
	[ ! -t 2 ] || printf '\r\033[K' >&2
}
trap 'stop; exit 130' INT TERM
go build -o ".local/bin/$1" "$2" 2>"$log"
status=$?
stop
if [ $status = 0 ]; then
	touch ".local/bin/$1"
else
	cat "$log" >&2
fi
exit $status
