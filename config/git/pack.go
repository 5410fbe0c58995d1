package git

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/storage/memory"
)

// unpack reads what a server sends into memory, never more than the limits
// allow: neither on the wire, nor once it is inflated and its deltas are applied.
func unpack(capabilities *capability.List, from io.Reader, limits Limits) (*memory.Storage, error) {
	switch {
	case capabilities.Supports(capability.Sideband64k):
		from = sideband.NewDemuxer(sideband.Sideband64k, from)
	case capabilities.Supports(capability.Sideband):
		from = sideband.NewDemuxer(sideband.Sideband, from)
	}
	pack, err := io.ReadAll(io.LimitReader(from, limits.Bytes+1))
	if err != nil {
		return nil, fmt.Errorf("receive: %w", err)
	}
	if int64(len(pack)) > limits.Bytes {
		return nil, limits.tooLarge()
	}
	if err := weigh(pack, limits); err != nil {
		return nil, err
	}
	objects := memory.NewStorage()
	if err := packfile.UpdateObjectStorage(objects, bytes.NewReader(pack)); err != nil {
		return nil, fmt.Errorf("receive: %w", err)
	}
	return objects, nil
}

// weigh adds up what a pack becomes in memory, without keeping any of it.
func weigh(pack []byte, limits Limits) error {
	scanner := packfile.NewScanner(bytes.NewReader(pack))
	_, count, err := scanner.Header()
	if err != nil {
		return fmt.Errorf("receive: %w", err)
	}
	left := limits.inflated()
	for range count {
		header, err := scanner.NextObjectHeader()
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		if left -= max(header.Length, 0); left < 0 {
			return limits.tooLarge()
		}
		var start head
		if _, _, err := scanner.NextObject(&start); err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		if !header.Type.IsDelta() {
			continue
		}
		result, err := start.resultOfDelta()
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		if result > uint64(max(left, 0)) {
			return limits.tooLarge()
		}
		left -= int64(result)
	}
	return nil
}

// head keeps the first bytes written to it.
type head struct{ bytes []byte }

func (h *head) Write(p []byte) (int, error) {
	h.bytes = append(h.bytes, p[:min(len(p), 2*binary.MaxVarintLen64-len(h.bytes))]...)
	return len(p), nil
}

// resultOfDelta reads the size of what a delta makes: the second number in it,
// after the size of what it is made of.
func (h *head) resultOfDelta() (uint64, error) {
	_, n := binary.Uvarint(h.bytes)
	if n <= 0 {
		return 0, errors.New("a delta has no size")
	}
	size, n := binary.Uvarint(h.bytes[n:])
	if n <= 0 {
		return 0, errors.New("a delta has no size")
	}
	return size, nil
}
