package tf_test

import (
	"fmt"
	"testing"

	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/dataawspartition"
	"github.com/cdktf/cdktf-provider-aws-go/aws/v19/vpc"

	"prefect-worker-ecs/constructs/tf"
)

// Elements that know their address and nothing of CDKTF.
type (
	fakeVPC struct {
		vpc.Vpc
		name string
	}
	fakePartition struct {
		dataawspartition.DataAwsPartition
	}
)

func (f *fakeVPC) OverrideLogicalId(name *string) { f.name = *name }
func (*fakePartition) OverrideLogicalId(*string)  {}

func TestAReferenceIsTheAddressAndTheAttribute(t *testing.T) {
	element := &fakeVPC{}
	main := tf.WithAddress[vpc.Vpc](element, "aws_vpc.main")
	if element.name != "main" {
		t.Errorf("CDKTF was told the name %q", element.name)
	}
	if got := *tf.ID(main); got != "${aws_vpc.main.id}" {
		t.Errorf("ID = %s", got)
	}
	partition := tf.WithAddress[dataawspartition.DataAwsPartition](&fakePartition{}, "data.aws_partition.current")
	if got := *tf.Partition(partition); got != "${data.aws_partition.current.partition}" {
		t.Errorf("Partition = %s", got)
	}
}

func TestAnAddressOfAnotherTypeIsRefused(t *testing.T) {
	defer func() {
		if got, want := fmt.Sprint(recover()), "tf: aws_subnet.main is not the address of a vpc.Vpc"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}()
	tf.WithAddress[vpc.Vpc](&fakeVPC{}, "aws_subnet.main")
}
