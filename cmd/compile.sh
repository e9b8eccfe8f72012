#!/bin/sh
# Compiles both programs for make, and shows what takes so long: in a terminal with a clock, elsewhere
# in one line. What Go prints, such as the modules that it downloads, is shown if it fails.
what='compiling workerctl and the program (about a minute the first time)'
log=.local/compile.log
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
go build -o .local/bin/ . ./cmd/workerctl 2>$log
status=$?
stop
[ $status = 0 ] || cat $log >&2
exit $status
