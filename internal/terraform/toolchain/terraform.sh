#!/bin/sh
# What the CDKTF CLI runs as "terraform" (TERRAFORM_BINARY_NAME), for two faults of the
# CLI in init, apply and destroy, which it runs in a terminal of its own:
#
# It stops reading as soon as Terraform has ended, so that the last lines, which say what
# went wrong, can be lost. Errors therefore go to a file, which workerctl shows.
#
# At Ctrl-C it passes that on and ends within a few hundredths of a second. Its terminal
# goes with it, and the hang-up would kill Terraform before it has saved the state. So
# Terraform does not see the hang-up, and workerctl waits until "running", a named pipe
# that this script holds open, is closed.
#
# And for its pace: it asks for Terraform's version four times, which workerctl has asked
# already, and runs init where there is nothing to do. The first question is answered when
# workerctl has prepared all that the CLI then reads; if it cannot, it ends the CLI.
terraform=${WORKERCTL_TERRAFORM:-terraform}
if [ "$WORKERCTL_TERRAFORM_WAITS" ]; then
	while [ ! -e "$WORKERCTL_TERRAFORM_DIR/prepared" ] && [ -d "$WORKERCTL_TERRAFORM_DIR" ]; do sleep 0.02; done
fi
case "$1 $2" in
"version -json") [ -s "$WORKERCTL_TERRAFORM_DIR/version.json" ] && exec cat "$WORKERCTL_TERRAFORM_DIR/version.json" ;;
"-v ") [ -s "$WORKERCTL_TERRAFORM_DIR/version" ] && exec cat "$WORKERCTL_TERRAFORM_DIR/version" ;;
esac
case $1 in
init) grep -qxF "$PWD" "$WORKERCTL_TERRAFORM_DIR/initialized" 2>/dev/null && exit 0 ;;
apply | destroy) ;;
providers) [ "$WORKERCTL_TERRAFORM_TRUSTS" ] && exit 0 || exec "$terraform" "$@" ;; # it would write the checksums anew
*) exec "$terraform" "$@" ;;
esac

# (Opened for reading too, so as not to wait for a workerctl that is gone.)
exec 8<&0 9<>"$WORKERCTL_TERRAFORM_DIR/running"
# In the background, because only wait lets a signal through. There the shell takes away
# the input, and the CLI gives its approval on it.
(
	trap '' HUP
	exec "$terraform" "$@" <&8 8<&- 9>&-
) 2>>"$WORKERCTL_TERRAFORM_DIR/errors" &
pid=$!

# Ctrl-C reaches Terraform by itself, and a second one would make it end at once, without
# the state. A hang-up alone, from a CLI that was killed, is passed on as one.
interrupted=
trap 'interrupted=yes' INT
trap '[ "$interrupted" ] || kill -INT "$pid"; interrupted=yes' HUP TERM
while
	wait "$pid"
	status=$?
	[ "$status" -gt 128 ] && kill -0 "$pid" 2>/dev/null
do :; done
if [ "$1" = init ] && [ "$status" = 0 ]; then
	if [ "$WORKERCTL_TERRAFORM_TRUSTS" ]; then # see TrustProvider
		sed '/hashes = \[/,/\]/d' .terraform.lock.hcl >.terraform.lock.new && mv .terraform.lock.new .terraform.lock.hcl
	fi
	echo "$PWD" >>"$WORKERCTL_TERRAFORM_DIR/done"
fi
# Let the CLI read the rest, such as the outputs. Errors do not depend on it.
sleep 0.2
exit "$status"
