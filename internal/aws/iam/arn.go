package iam

import "fmt"

// Account is where the stack is deployed. The values are Terraform references, known only
// when it is deployed.
type Account struct {
	// Partition is aws, aws-cn or aws-us-gov.
	Partition string
	// ID is the account's number.
	ID string
	// Region is the region's code.
	Region string
}

// Of is the ARN of a resource of a regional service in the account.
func (a Account) Of(service, resource string) string {
	return fmt.Sprintf("arn:%s:%s:%s:%s:%s", a.Partition, service, a.Region, a.ID, resource)
}

// AWSPolicy is the ARN of a policy that AWS manages.
func (a Account) AWSPolicy(name string) string {
	return fmt.Sprintf("arn:%s:iam::aws:policy/%s", a.Partition, name)
}
