package restype

import (
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"
)

// applicationautoscalingTypes are those of Application Auto Scaling.
var applicationautoscalingTypes = []Type{
	{
		Name: "aws_appautoscaling_target",
		Find: func(f *Search, r Resource) (string, error) {
			out, err := applicationautoscaling.NewFromConfig(f.cfg).DescribeScalableTargets(f.Context, &applicationautoscaling.DescribeScalableTargetsInput{
				ServiceNamespace: types.ServiceNamespaceEcs, ResourceIds: []string{r.text("resource_id")}})
			if err == nil && len(out.ScalableTargets) == 0 {
				err = errNone
			}
			return scaled(r), err
		},
		Loss:     "the number of worker tasks stays as it is",
		Replaces: []string{"resource_id", "scalable_dimension", "service_namespace"},
		Options:  map[string]string{"max_capacity": "worker.scaling.max", "min_capacity": "worker.scaling.min"},
		Grants: []Grant{
			{Read: "application-autoscaling:DescribeScalableTargets"},
			{Read: "application-autoscaling:ListTagsForResource", On: "application-autoscaling:scalable-target/*"},
			{Write: "application-autoscaling:RegisterScalableTarget application-autoscaling:TagResource", On: "application-autoscaling:scalable-target/*", When: Untagged},
			{Write: "application-autoscaling:RegisterScalableTarget application-autoscaling:DeregisterScalableTarget application-autoscaling:TagResource application-autoscaling:UntagResource", On: "application-autoscaling:scalable-target/*", When: Own},
			{Write: "iam:CreateServiceLinkedRole", On: "iam:role/aws-service-role/ecs.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_ECSService"},
		},
	},
	{
		Name: "aws_appautoscaling_policy",
		Find: func(f *Search, r Resource) (string, error) {
			out, err := applicationautoscaling.NewFromConfig(f.cfg).DescribeScalingPolicies(f.Context, &applicationautoscaling.DescribeScalingPoliciesInput{
				ServiceNamespace: types.ServiceNamespaceEcs, ResourceId: aws.String(r.text("resource_id")), PolicyNames: []string{r.text("name")}})
			if err == nil && !slices.ContainsFunc(out.ScalingPolicies, func(p types.ScalingPolicy) bool { return aws.ToString(p.PolicyName) == r.text("name") }) {
				err = errNone
			}
			return scaled(r) + "/" + r.text("name"), err
		},
		Loss:     "the number of worker tasks stays as it is",
		Replaces: []string{"name", "resource_id", "scalable_dimension", "service_namespace"},
		Grants: []Grant{
			{Read: "application-autoscaling:DescribeScalingPolicies"},
			{Write: "application-autoscaling:PutScalingPolicy application-autoscaling:DeleteScalingPolicy", On: "application-autoscaling:scalable-target/*", When: Own},
		},
	},
}

// scaled returns what a target or policy scales, as in the ids of both.
func scaled(r Resource) string {
	return r.text("service_namespace") + "/" + r.text("resource_id") + "/" + r.text("scalable_dimension")
}
