package query

import (
	"context"
	"errors"
)

// orEmpty returns the error of a call, or one if the answer lacks what it is about.
func orEmpty(err error, value string) error {
	if err == nil && value == "" {
		return errors.New("the answer is empty")
	}
	return err
}

// Role is a role in IAM. Policies come percent-encoded, as IAM returns them.
type Role struct {
	TrustPolicy string `xml:"AssumeRolePolicyDocument"`
	// Boundary is the ARN of its permissions boundary, empty if it has none.
	Boundary string `xml:"PermissionsBoundary>PermissionsBoundaryArn"`
}

// Role returns a role.
func (c Client) Role(ctx context.Context, name string) (Role, error) {
	var out struct {
		Role Role `xml:"GetRoleResult>Role"`
	}
	err := c.Call(ctx, IAM, "GetRole", Params{"RoleName": name}, &out)
	return out.Role, orEmpty(err, out.Role.TrustPolicy)
}

// names are the items of a page that lists policies of a role.
type names struct {
	Own      []string `xml:"PolicyNames>member"`
	Attached []string `xml:"AttachedPolicies>member>PolicyArn"`
	Marker   string
}

// list returns the items of all pages that an operation lists for a role.
func (c Client) list(ctx context.Context, operation, role string) (all names, err error) {
	for {
		var out struct {
			Result names `xml:",any"`
		}
		if err := c.Call(ctx, IAM, operation, Params{"RoleName": role, "Marker": all.Marker}, &out); err != nil {
			return names{}, err
		}
		all = names{append(all.Own, out.Result.Own...), append(all.Attached, out.Result.Attached...), out.Result.Marker}
		if all.Marker == "" {
			return all, nil
		}
	}
}

// RolePolicies returns the names of a role's own policies.
func (c Client) RolePolicies(ctx context.Context, role string) ([]string, error) {
	all, err := c.list(ctx, "ListRolePolicies", role)
	return all.Own, err
}

// RolePolicy returns one of a role's own policies.
func (c Client) RolePolicy(ctx context.Context, role, name string) (string, error) {
	var out struct {
		Document string `xml:"GetRolePolicyResult>PolicyDocument"`
	}
	err := c.Call(ctx, IAM, "GetRolePolicy", Params{"RoleName": role, "PolicyName": name}, &out)
	return out.Document, orEmpty(err, out.Document)
}

// AttachedPolicies returns the ARNs of the managed policies of a role.
func (c Client) AttachedPolicies(ctx context.Context, role string) ([]string, error) {
	all, err := c.list(ctx, "ListAttachedRolePolicies", role)
	return all.Attached, err
}

// ManagedPolicy returns the version of a managed policy that is in force.
func (c Client) ManagedPolicy(ctx context.Context, arn string) (string, error) {
	var policy struct {
		Version string `xml:"GetPolicyResult>Policy>DefaultVersionId"`
	}
	err := c.Call(ctx, IAM, "GetPolicy", Params{"PolicyArn": arn}, &policy)
	if err := orEmpty(err, policy.Version); err != nil {
		return "", err
	}
	var version struct {
		Document string `xml:"GetPolicyVersionResult>PolicyVersion>Document"`
	}
	err = c.Call(ctx, IAM, "GetPolicyVersion", Params{"PolicyArn": arn, "VersionId": policy.Version}, &version)
	return version.Document, orEmpty(err, version.Document)
}
