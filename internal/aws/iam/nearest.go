package iam

import (
	"slices"
	"strings"
)

// Nearest returns the statement that comes closest to allowing the request, and what keeps it from
// doing so: "" if it allows it. The name is empty if none is about the action or the resource.
func Nearest(documents []Document, request Request) (name, why string) {
	best := 0
	for _, document := range documents {
		for _, s := range document.Statement {
			if s.Effect != "Allow" {
				continue
			}
			action, resource := s, s
			action.Resource, action.NotResource, action.Condition = nil, nil, nil
			resource.Condition = nil
			byAction, _ := action.applies(request)
			byResource, _ := resource.applies(request)
			all, reason := s.applies(request)
			score, what := 0, "its actions"
			switch {
			case all == yes:
				score, what = 5, ""
			case byResource == yes:
				score, what = 4, reason
			case byAction == yes:
				score, what = 3, "its resource "+strings.Join(append(s.Resource, s.NotResource...), ", ")
			case s.sameService(request.Action):
				score = 1
			}
			if score > best {
				best, name, why = score, s.name(), what
			}
		}
	}
	return name, why
}

// sameService reports whether the statement allows another action of the service.
func (s Statement) sameService(action string) bool {
	service, _, _ := strings.Cut(action, ":")
	return slices.ContainsFunc(s.Action, func(other string) bool { return strings.HasPrefix(other, service+":") })
}
