package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/distribution/reference"
)

// The images that Prefect publishes, in the normalized form of a reference.
const (
	prefectImage    = "docker.io/prefecthq/prefect"
	prefectAWSImage = "docker.io/prefecthq/prefect-aws"
)

// ECRImage is an image in Amazon ECR.
type ECRImage struct {
	// Account is the number of the registry's account.
	Account string
	// Region is the code of the registry's region.
	Region string
	// Repository is the name of the repository, with slashes.
	Repository string
	// Tag is empty if the image has a digest only; without either it is latest.
	Tag string
	// Digest is sha256:... or empty.
	Digest string
}

var ecrHost = regexp.MustCompile(`^(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?$`)

// ParseECRImage returns the parts of the reference of an image, and false if it is not one in a private repository of
// ECR.
func ParseECRImage(image string) (in ECRImage, ok bool) {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return in, false
	}
	host := ecrHost.FindStringSubmatch(reference.Domain(named))
	if host == nil {
		return in, false
	}
	in = ECRImage{Account: host[1], Region: host[2], Repository: reference.Path(named)}
	if digested, ok := named.(reference.Digested); ok {
		in.Digest = digested.Digest().String()
	} else {
		named = reference.TagNameOnly(named)
	}
	if tagged, ok := named.(reference.Tagged); ok {
		in.Tag = tagged.Tag()
	}
	return in, true
}

// newest stands for a part of a version that a floating tag leaves open: 2-latest
// is the newest 2.x there is, so it counts as newer than every known release.
const newest = 99999

// Runtime is what the container image holds, by the configuration.
type Runtime struct {
	// Prefect is the version of Prefect. Parts that a floating tag such as 2-latest
	// leaves open are 99999.
	Prefect *semver.Version
	// Official says that the image is Prefect's own, with its entrypoint and tini.
	Official bool
	// PrefectAWS says that prefect-aws is in the image.
	PrefectAWS bool
}

// Major returns the major version of Prefect in the image.
func (r Runtime) Major() int { return int(r.Prefect.Major()) }

// Runtime returns what the worker's image holds. The error says, for a person, why that
// cannot be known; it has the form "rule; fix".
func (w Worker) Runtime() (Runtime, error) {
	runtime, problem := w.runtime()
	if problem != nil {
		return Runtime{}, fmt.Errorf("%s: %s; %s", problem.Key, problem.Rule, problem.Fix)
	}
	return runtime, nil
}

// PrefectMajor returns the major version of Prefect in the worker's image, 3 if it is not known.
func (e *Environment) PrefectMajor() int {
	runtime, err := e.Worker.Runtime()
	if err != nil {
		return 3
	}
	return runtime.Major()
}

func (w Worker) runtime() (Runtime, *Problem) {
	refuse := func(rule, fix string) (Runtime, *Problem) {
		return Runtime{}, &Problem{Key: "worker.image", Value: w.Image, Rule: rule, Fix: fix}
	}
	named, err := reference.ParseNormalizedNamed(w.Image)
	if err != nil {
		return refuse("an image is [host/]name:tag or [host/]name@sha256:digest, but "+err.Error(),
			"write for example prefecthq/prefect:2-latest or prefecthq/prefect:3.9.1-python3.12")
	}
	tag := ""
	if tagged, ok := named.(reference.Tagged); ok {
		tag = tagged.Tag()
	}
	_, digested := named.(reference.Digested)
	if !digested && (tag == "" || tag == "latest") {
		return refuse("the tag latest, or none, moves to the next major version of Prefect without notice",
			"name a version, for example prefecthq/prefect:2-latest or prefecthq/prefect:3.9.1-python3.12")
	}

	runtime := Runtime{
		Official:   named.Name() == prefectImage || named.Name() == prefectAWSImage,
		PrefectAWS: w.PrefectAWSIncluded || named.Name() == prefectAWSImage,
	}
	version := w.PrefectVersion
	if version == "" {
		version = versionInTag(named.Name(), tag)
	}
	if version == "" {
		return refuse("which Prefect is in the image cannot be read from its reference",
			`set worker.prefect_version to it, for example "2.20.25" or "3"`)
	}
	runtime.Prefect = parseVersion(version)
	if runtime.Prefect == nil {
		return Runtime{}, &Problem{Key: "worker.prefect_version", Value: w.PrefectVersion,
			Rule: formats["version"].rule, Fix: formats["version"].fix}
	}
	if !supportedPrefect.Check(runtime.Prefect) {
		return refuse("the program supports Prefect from 2.20.0 to 3.x, and this image holds "+version,
			"use an image of one of these, for example prefecthq/prefect:2-latest")
	}
	return runtime, nil
}

// supportedPrefect are the releases whose worker command was read and run.
var supportedPrefect = mustConstraint(">=2.20.0, <4.0.0")

var (
	leadingVersion  = regexp.MustCompile(`^v?(\d+(?:\.\d+){0,2})(?:-.*)?$`)
	trailingVersion = regexp.MustCompile(`-prefect(\d+(?:\.\d+){0,2})$`)
)

// versionInTag reads Prefect's version from the tag of one of Prefect's images:
// 2-latest, 3.9.1-python3.12, or for prefect-aws 0.7.5-python3.12-prefect3.6.20.
// The tag of another image says the version of something else.
func versionInTag(name, tag string) string {
	pattern := leadingVersion
	switch name {
	case prefectImage:
	case prefectAWSImage:
		pattern = trailingVersion
	default:
		return ""
	}
	if m := pattern.FindStringSubmatch(tag); m != nil {
		return m[1]
	}
	return ""
}

func parseVersion(version string) *semver.Version {
	if !formats["version"].accepts(version) {
		return nil
	}
	parts := [3]uint64{newest, newest, newest}
	for i, part := range strings.Split(version, ".") {
		parts[i], _ = strconv.ParseUint(part, 10, 32)
	}
	return semver.New(parts[0], parts[1], parts[2], "", "")
}

func mustConstraint(text string) *semver.Constraints {
	c, err := semver.NewConstraint(text)
	if err != nil {
		panic(err)
	}
	return c
}

// prefectAWSPin is a release of prefect-aws, and the releases of Prefect that it goes with.
type prefectAWSPin struct {
	prefect *semver.Constraints
	release string
}

// prefectAWSPins are the releases of prefect-aws that the program installs, each with
// the releases of Prefect that its metadata on PyPI allows. An unpinned install
// into a 2.x image would replace Prefect 2 by 3.
var prefectAWSPins = []prefectAWSPin{
	{mustConstraint(">=3.8.4, <4.0.0"), "0.7.12"},
	{mustConstraint(">=3.7.0, <3.8.4"), "0.7.11"},
	{mustConstraint(">=3.4.7, <3.7.0"), "0.6.0"},
	{mustConstraint(">=3.1.3, <3.4.7"), "0.5.5"},
	{mustConstraint(">=3.0.0, <3.1.3"), "0.5.0"},
	{mustConstraint(">=2.20.0, <3.0.0"), "0.4.20"},
}

// secretOfFlows are the releases of Prefect that go with prefect-aws 0.6.0 or later, the first
// whose flow tasks can read the API key as well as user and password from a secret (read in the
// source of the releases above).
var secretOfFlows = mustConstraint(">=3.4.7")

// createPoolFlag is the first release whose worker has --no-create-pool-if-not-found
// and by default creates a pool that is missing (read in Prefect's source).
var createPoolFlag = mustConstraint(">=3.6.23")

// CanRefuseToCreatePool reports whether the worker of this release has an option not to create
// its pool when it is missing, so that a mistyped name does not make a pool.
func (r Runtime) CanRefuseToCreatePool() bool { return createPoolFlag.Check(r.Prefect) }
