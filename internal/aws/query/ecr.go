package query

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// ECR is a client of Amazon ECR.
type ECR struct{ client }

// NewECR returns a client of ECR.
func NewECR(cfg aws.Config) ECR {
	return ECR{newClient(cfg, service{id: "ECR", name: "ecr", host: "api.ecr", target: "AmazonEC2ContainerRegistry_V20150921"})}
}

// ImageID is the tag of an image or, if it is given, its digest.
type ImageID struct {
	Tag    string `json:"imageTag,omitempty"`
	Digest string `json:"imageDigest,omitempty"`
}

// Image returns how many images a repository of a registry, which is an account, has of an id. The errors are
// RepositoryNotFoundException and ImageNotFoundException where there is none.
func (c ECR) Image(ctx context.Context, registry, repository string, id ImageID) (int, error) {
	var out struct {
		Details []struct{} `json:"imageDetails"`
	}
	err := c.CallJSON(ctx, "DescribeImages", map[string]any{"registryId": registry, "repositoryName": repository, "imageIds": []ImageID{id}}, &out)
	return len(out.Details), err
}

// RepositoryPolicy returns the policy of a repository of a registry. The error is RepositoryPolicyNotFoundException where
// there is none.
func (c ECR) RepositoryPolicy(ctx context.Context, registry, repository string) (string, error) {
	var out struct {
		PolicyText string `json:"policyText"`
	}
	err := c.CallJSON(ctx, "GetRepositoryPolicy", map[string]any{"registryId": registry, "repositoryName": repository}, &out)
	return out.PolicyText, orEmpty(err, out.PolicyText)
}
