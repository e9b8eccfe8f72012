package iam

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
)

// Account is where a stack is deployed. While it is synthesized the values are Terraform references,
// known only when it is deployed.
type Account struct {
	// Partition is aws, aws-cn or aws-us-gov.
	Partition string
	// ID is the account's number.
	ID string
	// Region is the region's code.
	Region string
}

// AccountOf returns the account in an ARN, with its partition and region. It is empty if text is no ARN.
func AccountOf(text string) Account {
	parsed, _ := arn.Parse(text) // empty with an error
	return Account{Partition: parsed.Partition, ID: parsed.AccountID, Region: parsed.Region}
}

// ResourceName returns what stands behind the last slash of an ARN: the name of a role or cluster, the ID of
// a task.
func ResourceName(arn string) string { return arn[strings.LastIndex(arn, "/")+1:] }

// Of returns the ARN of a resource of a regional service in the account.
func (a Account) Of(service, resource string) string {
	return fmt.Sprintf("arn:%s:%s:%s:%s:%s", a.Partition, service, a.Region, a.ID, resource)
}

// AWSPolicy returns the ARN of a policy that AWS manages.
func (a Account) AWSPolicy(name string) string {
	return fmt.Sprintf("arn:%s:iam::aws:policy/%s", a.Partition, name)
}
