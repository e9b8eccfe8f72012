package restype

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// sqsTypes are those of SQS.
var sqsTypes = []Type{
	{
		Name: "aws_sqs_queue",
		ARN:  "sqs:{name}",
		Find: func(f *Search, r Resource) (string, error) {
			out, err := sqs.NewFromConfig(f.cfg).GetQueueUrl(f.Context, &sqs.GetQueueUrlInput{QueueName: aws.String(r.text("name"))})
			if err != nil {
				return "", err
			}
			return aws.ToString(out.QueueUrl), nil
		},
		Loss:     "events in it are lost",
		Replaces: []string{"name"},
		Grants: []Grant{
			{Read: "sqs:GetQueueAttributes sqs:ListQueueTags", On: "sqs:{name}"},
			{Find: "sqs:GetQueueUrl", On: "sqs:{name}"},
			{Write: "sqs:CreateQueue sqs:DeleteQueue sqs:SetQueueAttributes sqs:TagQueue sqs:UntagQueue", On: "sqs:{name}"},
		},
	},
	{
		Name:        "aws_sqs_queue_policy",
		NotImported: "it is a setting of the queue, and replaces the one that is there",
		Loss:        Nothing,
		Replaces:    []string{"queue_url"},
		Grants: []Grant{
			{Read: "sqs:GetQueueAttributes", On: "sqs:{queue_url}"},
			{Write: "sqs:SetQueueAttributes", On: "sqs:{queue_url}"},
		},
	},
	{
		Name:        "aws_sqs_queue_redrive_policy",
		NotImported: "it is a setting of the queue, and replaces the one that is there",
		Loss:        Nothing,
		Replaces:    []string{"queue_url"},
		Grants: []Grant{
			{Read: "sqs:GetQueueAttributes", On: "sqs:{queue_url}"},
			{Write: "sqs:SetQueueAttributes", On: "sqs:{queue_url}"},
		},
	},
}
