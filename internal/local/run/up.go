// Package run runs the whole system on one machine, without AWS and
// without Prefect Cloud: Terraform and the AWS
// provider deploy the stack to an AWS emulator; the service's task definition,
// as read back from there, runs as a local process against a Prefect server;
// and a flow run proves that the worker works.
//
// A run is a folder, <project>/.local/run/<environment>, with all its files. Its
// processes run on in the background when Up has ended; state.json says which
// they are.
package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fatih/color"
	"golang.org/x/sync/errgroup"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/base/terminal"
	"prefect-worker-ecs/internal/local/pyenv"
	"prefect-worker-ecs/internal/prefect/api"
	"prefect-worker-ecs/internal/terraform/project"
)

// Up brings the local run up, from whatever state an earlier one left behind,
// and shows that its worker works. What runs already and still fits is used
// again. If it fails, or ctx ends, nothing is left running; the logs stay in
// the run's folder.
func Up(ctx context.Context, opt Options) (err error) {
	env, err := config.LoadOne(opt.config(), opt.Environment)
	if err != nil {
		return err
	}
	r, err := opt.run()
	if err != nil {
		return err
	}
	r.began = time.Now()
	release, err := r.claim(env.Name)
	if err != nil {
		return err
	}
	defer release()

	p := terminal.NewProgress(opt.Out)
	p.Line("%s", color.New(color.Bold).Sprintf("Local run of %s: Prefect %d, work pool %s (%s)", env.Name, env.PrefectMajor(), env.WorkPool.Name, env.WorkPool.Type))
	u := &up{run: r, opt: opt, env: env, p: p}
	resumed, err := u.resume(ctx)
	if err != nil {
		return err
	}
	defer func() {
		switch {
		case err == nil:
		case resumed && ctx.Err() == nil:
			p.Line("  %s", color.HiBlackString("what ran before was left running; %s shows it, %s stops it", opt.command("status"), opt.command("down")))
		default:
			p.Line("  %s", color.HiBlackString("stopping what was started; the logs stay in %s until %s", r.dir, opt.command("down")))
			stopErr := r.stopAll(context.WithoutCancel(ctx))
			if stopErr == nil {
				stopErr = r.ended()
			}
			err = errors.Join(err, stopErr)
		}
	}()
	return u.all(ctx)
}

// ended records that nothing of the run runs any more. Its files stay, and are known as its.
func (r *run) ended() error {
	return r.update(func(s *State) { *s = State{Environment: s.Environment, MadeFolder: s.MadeFolder} })
}

// up is one call of Up.
type up struct {
	*run
	opt Options
	env *config.Environment
	p   *terminal.Progress

	moto, prefect pyenv.Env
	client        *api.Client
	// leftOut is what the local run leaves out of the configuration, and why.
	leftOut []string
	// flow is the id of the flow run that shows that the worker works.
	flow string
	// compile ends when the program is compiled and workspace is set. The servers start meanwhile.
	compile   errgroup.Group
	workspace project.Workspace
}

// resume looks at what an earlier run left behind. If both servers still run
// they are kept, and with them all that was deployed; otherwise the rest is
// stopped and forgotten, because the emulator keeps all in memory. It returns
// which of the two it was.
func (u *up) resume(ctx context.Context) (kept bool, err error) {
	s := &u.state
	usable := s.Emulator != nil && s.Prefect != nil && s.PrefectMajor == u.env.PrefectMajor() && s.Region == u.env.Region &&
		(s.OwnServer != nil) == u.env.Server.Enabled && (s.OwnServer == nil || s.OwnServer.Database == nil || s.OwnServer.Database.Process.Alive()) &&
		s.Emulator.Process.Alive() && s.Emulator.Ready(ctx) && s.Prefect.Process.Alive() && s.Prefect.Ready(ctx)
	if usable {
		u.p.Note("using the emulator and the Prefect server that run already")
		if err := u.stopStarting(ctx); err != nil {
			return true, err
		}
		return true, u.update(func(s *State) { s.Starting = nil })
	}
	if !s.idle() {
		u.p.Note("clearing away what an earlier run left behind")
		if err := u.stopAll(ctx); err != nil {
			return false, err
		}
	}
	if _, err := u.clear(); err != nil {
		return false, err
	}
	if err := u.ended(); err != nil {
		return false, err
	}
	return false, u.update(func(s *State) { s.PrefectMajor, s.Region = u.env.PrefectMajor(), u.env.Region })
}

func (u *up) all(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer u.compile.Wait()
	defer cancel()
	for _, step := range []func(context.Context) error{
		u.setUp, u.deploy, u.applyPool, u.submitFlow, u.startWorker, u.verify, u.observed, u.awaitFlow, u.watched, u.checkCalls,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	u.summary()
	return nil
}

// setUp makes what must be there: quick when it is, dominated by downloads
// when it is not.
func (u *up) setUp(ctx context.Context) error {
	return u.p.Step("setting up the Python environments", func() (string, error) {
		if _, err := project.CheckTools(ctx); err != nil {
			return "", err
		}
		u.compile.Go(func() error {
			return u.p.Step("compiling the program", func() (_ string, err error) {
				u.workspace, err = u.opt.Project.NewWorkspace(ctx, u.workspaceDir())
				return "the program is compiled", err
			})
		})
		prefect := pyenv.Prefect(u.env.PrefectMajor())
		pyOptions := pyenv.Options{Root: u.opt.Project.Local(), Step: u.p.Do}
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() (err error) { u.moto, err = pyenv.Ensure(ctx, pyenv.Moto, pyOptions); return err })
		g.Go(func() (err error) { u.prefect, err = pyenv.Ensure(ctx, prefect, pyOptions); return err })
		if err := g.Wait(); err != nil {
			return "", err
		}
		return fmt.Sprintf("set up: moto %s, Prefect %s", pyenv.Moto.Pin("moto"), prefect.Pin("prefect")), nil
	})
}

func (u *up) summary() {
	bold := color.New(color.Bold).Sprint
	s := u.state
	p := u.p
	p.Line("\n%s", color.GreenString("The worker works. It took %.0f s; all of it runs on in the background.", p.Elapsed().Seconds()))
	if own := s.OwnServer; own != nil && own.Database == nil {
		p.Line("SQLite stands for the server's database: PostgreSQL is not installed here, so its migrations, password and TLS were not run.")
	} else if own != nil {
		p.Line("PostgreSQL on this machine stands for RDS, over TLS and with the password of the secret.")
	}
	if len(u.leftOut) > 0 {
		p.Line("\n%s", bold("Left out of your configuration, here only"))
		for _, l := range u.leftOut {
			p.Line("%s", terminal.Wrap("  "+l, terminal.Width(u.opt.Out)))
		}
	}
	p.Line("\n%s\n  user interface  %s\n  API             %s", bold("Prefect"), s.Prefect.URL(), s.Prefect.APIURL())
	if s.OwnServer != nil && u.env.Prefect.Authentication == config.AuthBasic {
		p.Line("  user:password   aws secretsmanager get-secret-value --secret-id %s --query SecretString --output text", u.env.Secret.Name)
	}
	p.Line("\n%s", bold("AWS"))
	p.Line("  export AWS_ENDPOINT_URL=%s AWS_DEFAULT_REGION=%s AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test", s.Emulator.Endpoint, s.Region)
	p.Line("  aws ecs describe-services --cluster %s --services %s", u.env.Cluster.Name, u.env.Worker.ServiceName)
	p.Line("  aws ecs describe-task-definition --task-definition %s", iam.ResourceName(s.TaskDefinition))
	p.Line("  aws logs filter-log-events --log-group-name %s --query 'events[].message'", u.env.Logs.Group)
	p.Line("\n%s\n  %s", bold("Verify again"), u.opt.command("verify"))
	p.Line("\n%s\n  %s", bold("Files"), u.dir)
	p.Line("\n%s\n  %s", bold("Take it down"), u.opt.command("down"))
}
