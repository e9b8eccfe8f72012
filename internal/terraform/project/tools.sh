#!/bin/sh
# How to install Go, Node.js and Terraform or OpenTofu on this system: sh tools.sh go node terraform.
# Without arguments it is about those that are not on PATH, and fails if there are any. make runs it
# before workerctl can be built, and workerctl has it embedded.
terraform=${TERRAFORM_BINARY_NAME:-terraform}
if [ $# = 0 ]; then
	# Go 1.21 and newer fetch the release that go.mod names.
	case $(GOTOOLCHAIN=local go version 2>/dev/null) in
	'' | *go1.[0-9].* | *go1.1[0-9]* | *go1.20*) set -- go ;;
	esac
	command -v node >/dev/null || set -- "$@" node
	command -v "$terraform" >/dev/null || set -- "$@" terraform
	[ $# != 0 ] || exit 0
	echo "not installed, or too old: $*" | sed "s|terraform|$(basename "$terraform")|" >&2
	exec >&2
	status=1
fi
packages=
for tool; do
	case $tool in terraform) case $terraform in *tofu*) tool=opentofu ;; esac ;; esac
	packages="$packages $tool"
done
has() { case "$packages " in *" $1 "*) ;; *) false ;; esac; }
if command -v brew >/dev/null; then
	echo "Homebrew: brew install$packages" | sed 's| terraform| hashicorp/tap/terraform|'
elif command -v dnf >/dev/null; then
	! has terraform || echo "Fedora: sudo dnf config-manager addrepo --from-repofile=https://rpm.releases.hashicorp.com/fedora/hashicorp.repo"
	echo "Fedora: sudo dnf install$packages" | sed 's| go\>| golang|; s| node\>| nodejs|'
elif command -v apt-get >/dev/null; then
	! has terraform || cat <<-'END'
	Debian, Ubuntu, the repository of Terraform:
	  wget -qO- https://apt.releases.hashicorp.com/gpg | sudo gpg --dearmor -o /usr/share/keyrings/hashicorp.gpg
	  echo "deb [signed-by=/usr/share/keyrings/hashicorp.gpg] https://apt.releases.hashicorp.com $(. /etc/os-release; echo $VERSION_CODENAME) main" | sudo tee /etc/apt/sources.list.d/hashicorp.list
	END
	! has opentofu || echo "Debian, Ubuntu, the repository of OpenTofu: https://opentofu.org/docs/intro/install/deb"
	echo "Debian, Ubuntu: sudo apt-get update && sudo apt-get install$packages" | sed 's| go\>| golang-go|; s| node\>| nodejs|'
	! has go && ! has node || echo "  where they are older than needed: https://go.dev/dl, https://nodejs.org"
else
	echo "Get them: https://go.dev/dl, https://nodejs.org, https://developer.hashicorp.com/terraform/install"
fi
exit ${status:-0}
