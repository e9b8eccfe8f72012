package restype

// schedulerTypes are those of EventBridge Scheduler.
var schedulerTypes = []Type{
	{
		Name: "aws_scheduler_schedule",
		Find: func(f *Search, r Resource) (string, error) {
			return "default/" + r.text("name"), f.aws.Schedule(f.Context, r.text("name"))
		},
		Loss:     Nothing,
		Replaces: []string{"name"},
		Grants: []Grant{
			{Read: "scheduler:GetSchedule", On: "scheduler:schedule/default/{name}"},
			{Write: "scheduler:CreateSchedule scheduler:UpdateSchedule scheduler:DeleteSchedule", On: "scheduler:schedule/default/{name}"},
			{Write: "iam:PassRole", On: "iam:role/{target.role_arn}", PassedTo: "scheduler"},
		},
	},
}
