package restype

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
)

// schedulerTypes are those of EventBridge Scheduler.
var schedulerTypes = []Type{
	{
		Name: "aws_scheduler_schedule",
		Find: func(f *Search, r Resource) (string, error) {
			_, err := f.aws.scheduler.GetSchedule(f.Context, &scheduler.GetScheduleInput{Name: aws.String(r.text("name"))})
			return "default/" + r.text("name"), err
		},
		Loss:     Nothing,
		Replaces: []string{"name"},
		Grants: []Grant{
			{Read: "scheduler:GetSchedule", On: "scheduler:schedule/default/{name}"},
			{Write: "scheduler:CreateSchedule scheduler:UpdateSchedule scheduler:DeleteSchedule", On: "scheduler:schedule/default/{name}"},
			{Write: "iam:PassRole", On: "iam:role/{target.role_arn}", When: ToScheduler},
		},
	},
}
