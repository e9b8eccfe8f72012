#!/bin/sh
# What the CDKTF CLI runs as "terraform" (TERRAFORM_BINARY_NAME).
#
# The CLI runs init, apply and destroy in a terminal of its own and stops reading it as
# soon as Terraform has ended, so that the last lines, which say what went wrong, can be
# lost. Errors therefore go to a file, which workerctl shows when the CLI has ended.
terraform=${WORKERCTL_TERRAFORM:-terraform}
case $1 in
init | apply | destroy) ;;
*) exec "$terraform" "$@" ;;
esac
# Ctrl-C goes to Terraform as well, which ends in order; this script only waits for it.
# (A trap that does something, so that Terraform does not inherit an ignored signal.)
trap : INT
"$terraform" "$@" 2>>"$WORKERCTL_TERRAFORM_ERRORS"
status=$?
# Let the CLI read the rest, such as the outputs. Errors do not depend on it.
sleep 0.2
exit $status
