package config

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/vipilot/vipilot/internal/rhythm"
)

const (
	// settle is how long nothing must happen before a change is told: a file
	// that is being written is not read half.
	settle = 10 * time.Millisecond
	// patience is the longest that a writer who never pauses can delay it.
	patience = 250 * time.Millisecond
	// patrol is how often the files are looked at without any notice: it finds
	// what inotify cannot tell, such as a change on a network file system.
	patrol = 30 * time.Second
	// reread is when to ask again which files outside matter: by then a
	// change has been loaded, and the new Config may refer to others.
	reread = 500 * time.Millisecond
)

// Watch follows a configuration directory and sends on changed, which should
// have room for one, whenever a file that is not hidden may have changed. It sends without
// waiting: a change that is still to be taken stands for all before it.
// Files elsewhere are followed too when outside, if given, lists them by the names
// Config.Files has; it is asked again and again, so it can give those of the newest Config.
//
// Watch sends once at the start, since nobody saw what happened between the
// last Load and its first look. The directory may vanish and return. Watch
// returns nil when ctx ends; it never closes the channel.
func Watch(ctx context.Context, dir string, changed chan<- struct{}, outside ...func() []string) error {
	root, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("watch %s: %w", dir, err)
	}
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch %s: start inotify (see fs.inotify.max_user_instances): %w", dir, err)
	}
	defer notify.Close()

	w := watcher{notify: notify, dir: root, outside: outside}
	w.look()
	w.tell(changed)

	quiet := time.NewTimer(reread)
	defer quiet.Stop()
	var since time.Time // when the oldest notice came that was not acted on
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-notify.Events:
			if !ok {
				return errors.New("watch " + dir + ": inotify ended")
			}
			if !w.matters(e.Name) {
				continue
			}
		case <-notify.Errors: // an overflow, at most: something happened that we were not told
		case <-quiet.C:
			since = time.Time{}
			if w.look() {
				w.tell(changed)
				quiet.Reset(reread)
			} else {
				quiet.Reset(rhythm.Next(patrol))
			}
			continue
		}
		if since.IsZero() {
			since = time.Now()
		}
		quiet.Reset(max(0, min(settle, patience-time.Since(since))))
	}
}

// watcher knows what the files looked like last time.
type watcher struct {
	notify  *fsnotify.Watcher
	dir     string
	outside []func() []string
	seen    string
	// above are directories in which one name matters: the configuration
	// directory itself, which may be replaced. A busy neighbour, as in /tmp, is
	// no news.
	above map[string]string
}

// matters reports whether a notice about the file may be about us.
func (w *watcher) matters(name string) bool {
	only, ok := w.above[filepath.Dir(name)]
	return !ok || filepath.Base(name) == only
}

func (w *watcher) tell(changed chan<- struct{}) {
	select {
	case changed <- struct{}{}:
	default:
	}
}

// look asks for notices from every directory that matters and says whether
// any file differs from the last look. Notices are asked for first, so that
// whatever happens after the look is noticed.
func (w *watcher) look() bool {
	w.above = make(map[string]string)
	w.followRoot()
	var now strings.Builder
	err := walk(w.dir, func(name string, info fs.FileInfo) {
		if info.IsDir() {
			w.add(filepath.Join(w.dir, name))
			return
		}
		describe(&now, name, info)
	})
	if err != nil {
		fmt.Fprintln(&now, err)
	}
	for _, list := range w.outside {
		names := slices.Clone(list())
		slices.Sort(names) // another order is no change
		for _, name := range names {
			if !filepath.IsAbs(name) {
				name = filepath.Join(w.dir, name) // seen already, unless it is hidden
			}
			w.follow(name)
			if info, err := os.Stat(name); err == nil {
				describe(&now, name, info)
			}
		}
	}
	differs := now.String() != w.seen
	w.seen = now.String()
	return differs
}

// followRoot is follow for the configuration directory.
func (w *watcher) followRoot() {
	names := []string{filepath.Clean(w.dir)}
	if target, err := filepath.EvalSymlinks(w.dir); err == nil && target != names[0] {
		names = append(names, target)
	}
	for _, name := range names {
		w.add(filepath.Dir(name))
	}
	for _, name := range names {
		parent, err := filepath.EvalSymlinks(filepath.Dir(name))
		if err != nil {
			continue
		}
		if _, ok := w.above[parent]; ok {
			delete(w.above, parent) // two names matter: listen to all
			continue
		}
		w.above[parent] = filepath.Base(name)
	}
}

// follow asks for notices when name is replaced, or what it links to.
func (w *watcher) follow(name string) {
	w.add(filepath.Dir(filepath.Clean(name)))
	if target, err := filepath.EvalSymlinks(name); err == nil {
		w.add(filepath.Dir(target))
	}
}

// add asks for notices from a directory, by its real path: a link may lead
// elsewhere next time. Asking twice costs nothing. What cannot be asked is left to the patrol.
func (w *watcher) add(dir string) {
	if target, err := filepath.EvalSymlinks(dir); err == nil {
		delete(w.above, target)
		_ = w.notify.Add(target)
	}
}

// describe writes what changes whenever a file's content may have changed.
func describe(b *strings.Builder, name string, info fs.FileInfo) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		stat = &syscall.Stat_t{}
	}
	fmt.Fprintf(b, "%q %d %d %d %d %d\n", name, stat.Dev, stat.Ino, info.Size(), info.ModTime().UnixNano(), stat.Ctim.Nano())
}
