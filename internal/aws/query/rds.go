package query

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// RDS is a client of Amazon RDS.
type RDS struct{ client }

// NewRDS returns a client of RDS.
func NewRDS(cfg aws.Config) RDS {
	return RDS{newClient(cfg, service{id: "RDS", name: "rds", version: "2014-10-31"})}
}

// InstanceStatus returns the status of a database, empty if there is none.
func (c RDS) InstanceStatus(ctx context.Context, identifier string) (string, error) {
	var out struct {
		Status string `xml:"DescribeDBInstancesResult>DBInstances>DBInstance>DBInstanceStatus"`
	}
	err := c.Call(ctx, "DescribeDBInstances", Params{"DBInstanceIdentifier": identifier}, &out)
	return out.Status, err
}

// SubnetGroup returns an error if there is no subnet group of the name.
func (c RDS) SubnetGroup(ctx context.Context, name string) error {
	return c.Call(ctx, "DescribeDBSubnetGroups", Params{"DBSubnetGroupName": name}, nil)
}

// ParameterGroup reports whether there is a parameter group of the name.
func (c RDS) ParameterGroup(ctx context.Context, name string) (bool, error) {
	var out struct {
		Names []string `xml:"DescribeDBParameterGroupsResult>DBParameterGroups>DBParameterGroup>DBParameterGroupName"`
	}
	err := c.Call(ctx, "DescribeDBParameterGroups", Params{"DBParameterGroupName": name}, &out)
	return len(out.Names) > 0, err
}
