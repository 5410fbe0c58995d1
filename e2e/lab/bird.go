package lab

import (
	"context"
	"fmt"
	"strings"
	"text/template"
)

const bird = "bird"

// birdConf keeps BIRD's own defaults for graceful restart: it is a helper to
// whoever asks for it.
var birdConf = template.Must(template.New("bird.conf").Parse(`router id {{.Address}};
protocol device { scan time 1; }
protocol kernel { ipv4 { import none; export all; }; merge paths on; }
protocol bfd { interface "eth0" { min rx interval 100 ms; min tx interval 100 ms; multiplier 3; }; }
template bgp node {
  local {{.Address}} as {{.ASN}};
  hold time 9;
  error wait time 1, 5; # a minute by default, after a hold time that expired
{{- if .Password}}
  password "{{.Password}}";
{{- end}}
{{- if .TTLSecurity}}
  ttl security on;
{{- end}}
  ipv4 { import all; export none; };
}
{{- range .Peers}}
protocol bgp {{.Name}} from node { neighbor {{.Address}} as {{$.PeerASN}}; }
{{- end}}
`))

// UseBIRD replaces FRR by BIRD, until undo brings FRR back.
func (r *Router) UseBIRD(ctx context.Context, opts Options) (undo func(context.Context) error, err error) {
	conf := new(strings.Builder)
	err = birdConf.Execute(conf, map[string]any{
		"ASN": RouterASN, "Address": RouterAddress, "PeerASN": NodeASN, "Password": opts.BGPPassword,
		"TTLSecurity": opts.TTLSecurity, "Peers": []struct{ Name, Address string }{{"lb1", "10.77.0.21"}, {"lb2", "10.77.0.22"}},
	})
	if err != nil {
		return nil, fmt.Errorf("write bird.conf: %w", err)
	}
	restart, err := r.Crash(ctx)
	if err != nil {
		return nil, err
	}
	undo = func(ctx context.Context) error {
		r.KillDaemon(bird)
		if err := r.forget(ctx); err != nil {
			return err
		}
		return restart(ctx)
	}
	if err := r.file(ctx, "/etc/bird/bird.conf", conf.String()); err != nil {
		return undo, err
	}
	return undo, r.startBIRD(ctx)
}

func (r *Router) startBIRD(ctx context.Context) error {
	d, err := r.daemon(nil, "/usr/sbin/bird", "-f", "-c", "/etc/bird/bird.conf", "-s", "/run/bird.ctl")
	if err != nil {
		return err
	}
	r.running[bird] = d
	err = Poll(ctx, Patience, func(ctx context.Context) error {
		_, err := r.Run(ctx, "birdc", "-s", "/run/bird.ctl", "show", "status")
		return err
	})
	if err != nil {
		return fmt.Errorf("start BIRD: %w\n%s", err, d.tail(5))
	}
	return nil
}
