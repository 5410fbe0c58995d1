package controller

import "context"

// renew replaces a sentinel that a controller of another version has started,
// once, and as soon as it costs no route: where GoBGP announces, that is with
// graceful_restart, or on a node that is drained. See docs/decisions/0014.
func (l *loop) renew(ctx context.Context) {
	state, known := l.router.State()
	s := l.router.Status()
	if !known || !s.Adopted || l.opts.AttachSentinel || l.outdated() == "" || state.Stays != "" || l.renewed == s.PID {
		return
	}
	l.renewed = s.PID
	if err := l.router.Replace(ctx); err != nil {
		l.unrenewed = err.Error()
		l.log.Warn("the sentinel of another version stays", "version", state.Build, "err", err)
		return
	}
	l.log.Info("sentinel replaced", "version", state.Build, "by", l.opts.Version)
}

// outdated is the sentinel's version where it is not this controller's, or "".
func (l *loop) outdated() string {
	if state, known := l.router.State(); known && state.Build != l.opts.Version {
		return state.Build
	}
	return ""
}
