package query

import "github.com/hashicorp/aws-sdk-go-base/v2/endpoints"

// Service is an API of AWS.
type Service struct {
	// id is the SDK's name of the service ("Service ID"), and name that in host names and signatures.
	id, name string
	version  string
	// host begins the host name where that is another than name.
	host string
	// target begins the name of an operation in the JSON protocol. Empty: the service has another one.
	target string
	// rest says that each operation has a path, and the answers are in JSON.
	rest bool
	// global are the host and the region of the signature by partition, for a service that has one
	// endpoint for all regions.
	global map[string][2]string
}

// The services.
var (
	EC2         = Service{id: "EC2", name: "ec2", version: "2016-11-15"}
	ECR         = Service{id: "ECR", name: "ecr", host: "api.ecr", target: "AmazonEC2ContainerRegistry_V20150921"}
	EventBridge = Service{id: "EventBridge", name: "events", target: "AWSEvents"}
	IAM         = Service{id: "IAM", name: "iam", version: "2010-05-08", global: map[string][2]string{
		endpoints.AwsPartitionID:      {"iam.amazonaws.com", "us-east-1"},
		endpoints.AwsCnPartitionID:    {"iam.cn-north-1.amazonaws.com.cn", "cn-north-1"},
		endpoints.AwsUsGovPartitionID: {"iam.us-gov.amazonaws.com", "us-gov-west-1"},
	}}
	Lambda = Service{id: "Lambda", name: "lambda", rest: true}
	RDS    = Service{id: "RDS", name: "rds", version: "2014-10-31"}
	// Route53 has no Query protocol but the same XML.
	Route53 = Service{id: "Route 53", name: "route53", global: map[string][2]string{
		endpoints.AwsPartitionID:      {"route53.amazonaws.com", "us-east-1"},
		endpoints.AwsCnPartitionID:    {"route53.amazonaws.com.cn", "cn-northwest-1"},
		endpoints.AwsUsGovPartitionID: {"route53.us-gov.amazonaws.com", "us-gov-west-1"},
	}}
	Scheduler = Service{id: "Scheduler", name: "scheduler", rest: true}
	SNS       = Service{id: "SNS", name: "sns", version: "2010-03-31"}
	SSM       = Service{id: "SSM", name: "ssm", target: "AmazonSSM"}
)
