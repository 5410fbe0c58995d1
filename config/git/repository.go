package git

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"os"
	"path/filepath"
)

// snapshot is one commit with everything below it, read or readable.
type snapshot struct {
	hash    plumbing.Hash
	objects storer.EncodedObjectStorer
}

func (s snapshot) commit() (*object.Commit, error) {
	return object.GetCommit(s.objects, s.hash)
}

// repository is one conversation with a repository: ask for the commit first, then for its content.
type repository interface {
	// resolve gives the commit that ref stands for now.
	resolve(ctx context.Context, ref string) (plumbing.Hash, error)
	// content gives the commit with its files.
	content(ctx context.Context, commit plumbing.Hash) (snapshot, error)
	close()
}

// local is a repository on this machine's disk. Its objects are read in place.
type local struct{ storage *filesystem.Storage }

func openLocal(dir string) (local, error) {
	if info, err := os.Stat(filepath.Join(dir, ".git")); err == nil && info.IsDir() {
		dir = filepath.Join(dir, ".git")
	}
	for _, name := range []string{"HEAD", "objects"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return local{}, fmt.Errorf("%s is not a Git repository: %w", dir, err)
		}
	}
	return local{filesystem.NewStorageWithOptions(osfs.New(dir, osfs.WithBoundOS()), cache.NewObjectLRUDefault(),
		filesystem.Options{AlternatesFS: osfs.New("/")})}, nil
}

func (l local) close() { _ = l.storage.Close() }

func (l local) resolve(_ context.Context, ref string) (plumbing.Hash, error) {
	if isCommit(ref) {
		return plumbing.NewHash(ref), nil
	}
	found, err := pick(ref, func(name string) (plumbing.Hash, bool) {
		r, err := storer.ResolveReference(l.storage, plumbing.ReferenceName(name))
		if err != nil {
			return plumbing.ZeroHash, false
		}
		return r.Hash(), true
	})
	if err != nil {
		return found, err
	}
	if tag, err := object.GetTag(l.storage, found); err == nil {
		commit, err := tag.Commit()
		if err != nil {
			return plumbing.ZeroHash, fmt.Errorf("tag %s is not on a commit: %w", ref, err)
		}
		return commit.Hash, nil
	}
	return found, nil
}

func (l local) content(_ context.Context, commit plumbing.Hash) (snapshot, error) {
	return snapshot{commit, l.storage}, nil
}

// pick finds what a reference stands for: a full name, or a branch or a tag.
func pick(ref string, lookup func(name string) (plumbing.Hash, bool)) (plumbing.Hash, error) {
	if ref == "" {
		if hash, ok := lookup("HEAD"); ok {
			return hash, nil
		}
		return plumbing.ZeroHash, errors.New("the repository has no HEAD, or nothing was committed yet; name a branch with ?ref=")
	}
	if strings.HasPrefix(ref, "refs/") {
		if hash, ok := lookup(ref); ok {
			return hash, nil
		}
		return plumbing.ZeroHash, fmt.Errorf("there is no %s", ref)
	}
	branch, isBranch := lookup("refs/heads/" + ref)
	tag, isTag := lookup("refs/tags/" + ref)
	switch {
	case isBranch && isTag && branch != tag:
		return plumbing.ZeroHash, fmt.Errorf("%q is a branch and a tag; write refs/heads/%s or refs/tags/%s", ref, ref, ref)
	case isBranch:
		return branch, nil
	case isTag:
		return tag, nil
	}
	return plumbing.ZeroHash, fmt.Errorf("there is no branch or tag %q", ref)
}

// distant is a repository behind a server.
type distant struct {
	session transport.UploadPackSession
	limits  Limits
	offered *packp.AdvRefs
}

func (d *distant) close() { _ = d.session.Close() }

func (d *distant) resolve(ctx context.Context, ref string) (plumbing.Hash, error) {
	offered, err := d.session.AdvertisedReferencesContext(ctx)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	d.offered = offered
	if isCommit(ref) {
		return plumbing.NewHash(ref), nil
	}
	return pick(ref, func(name string) (plumbing.Hash, bool) {
		if name == "HEAD" && offered.Head != nil {
			return *offered.Head, true
		}
		if peeled, ok := offered.Peeled[name]; ok {
			return peeled, true // the commit of an annotated tag
		}
		hash, ok := offered.References[name]
		return hash, ok
	})
}

// content fetches one commit without its history, where the server can do that.
func (d *distant) content(ctx context.Context, commit plumbing.Hash) (snapshot, error) {
	request := packp.NewUploadPackRequestFromCapabilities(d.offered.Capabilities)
	request.Capabilities.Delete(capability.ThinPack)
	request.Wants = []plumbing.Hash{commit}
	if !d.gives(commit) {
		// The server gives only what a reference points at: the commit must be
		// found in their history.
		request.Wants = d.everything()
	} else if d.offered.Capabilities.Supports(capability.Shallow) {
		request.Depth = packp.DepthCommits(1)
		if err := request.Capabilities.Set(capability.Shallow); err != nil {
			return snapshot{}, err
		}
	}
	answer, err := d.session.UploadPack(ctx, request)
	if err != nil {
		return snapshot{}, err
	}
	defer answer.Close()
	objects, err := unpack(request.Capabilities, answer, d.limits)
	if err != nil {
		return snapshot{}, err
	}
	if objects.HasEncodedObject(commit) != nil {
		return snapshot{}, fmt.Errorf("commit %s is not in the history of any branch or tag", commit)
	}
	return snapshot{commit, objects}, nil
}

// gives reports whether the server sends a commit that is asked for by hash.
func (d *distant) gives(commit plumbing.Hash) bool {
	return slices.Contains(d.everything(), commit) ||
		d.offered.Capabilities.Supports(capability.AllowReachableSHA1InWant) || d.offered.Capabilities.Supports("allow-any-sha1-in-want")
}

// everything is what branches and tags point at.
func (d *distant) everything() []plumbing.Hash {
	var all []plumbing.Hash
	if d.offered.Head != nil {
		all = append(all, *d.offered.Head)
	}
	for name, hash := range d.offered.References {
		if strings.HasPrefix(name, "refs/heads/") || strings.HasPrefix(name, "refs/tags/") {
			all = append(all, hash)
		}
	}
	for _, hash := range d.offered.Peeled {
		all = append(all, hash)
	}
	slices.SortFunc(all, func(a, b plumbing.Hash) int { return slices.Compare(a[:], b[:]) })
	return slices.Compact(all)
}
