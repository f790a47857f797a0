package block

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"slices"
	"strings"
)

// The manifest names the runs that make up the index and the place in the log
// up to which they know it. It is replaced whole. When it is lost or wrong the
// index is made again from the segments.
const (
	manifestName  = "manifest"
	manifestTemp  = "manifest.new"
	manifestMagic = "firth block index 1"
)

type manifest struct {
	Runs []string // newest first
	checkpoint
}

// checkpoint is the state of the log at the moment a map of the index was
// sealed.
type checkpoint struct {
	Segment  uint32 // the log is indexed up to the end of this one as Segments has it
	Blocks   int64
	Segments []segmentState
}

type segmentState struct {
	ID      uint32
	Size    int64 // up to the end of its last whole section
	Live    int64 // bytes of live blocks and of tombstones
	Marks   int64 // bytes of tombstones
	Damaged bool  // holds bytes that are no good section
}

var errNoManifest = errors.New("no usable manifest")

func writeManifest(fs files, m manifest) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := fs.remove(manifestTemp); err != nil && !isAbsent(err) {
		return err
	}
	f, err := fs.create(manifestTemp)
	if err != nil {
		return err
	}
	head := fmt.Appendf(nil, "%s %08x\n", manifestMagic, crc32.Checksum(body, castagnoli()))
	err = f.writeAt([][]byte{head, body}, 0)
	if err == nil {
		err = f.sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fs.rename(manifestTemp, manifestName); err != nil {
		return err
	}
	return fs.sync(".")
}

// readManifest returns errNoManifest when there is none that can be trusted.
func readManifest(fs files) (m manifest, err error) {
	f, err := fs.open(manifestName)
	if isAbsent(err) {
		return m, errNoManifest
	}
	if err != nil {
		return m, classify(err, "read %s in %s", manifestName, fs)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.size()
	if err != nil || size > 1<<30 {
		return m, errors.Join(errNoManifest, err)
	}
	data := make([]byte, size)
	if _, err := f.ReadAt(data, 0); err != nil && size > 0 {
		return m, classify(err, "read %s in %s", manifestName, fs)
	}
	return parseManifest(data)
}

func parseManifest(data []byte) (m manifest, err error) {
	head, body, ok := strings.Cut(string(data), "\n")
	if !ok || head != fmt.Sprintf("%s %08x", manifestMagic, crc32.Checksum([]byte(body), castagnoli())) {
		return m, errNoManifest
	}
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		return m, errors.Join(errNoManifest, err)
	}
	return m, nil
}

func isAbsent(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// state returns what the manifest says about a segment.
func (m *manifest) state(id uint32) (segmentState, bool) {
	i, ok := slices.BinarySearchFunc(m.Segments, id, func(s segmentState, id uint32) int { return int(int64(s.ID) - int64(id)) })
	if !ok {
		return segmentState{}, false
	}
	return m.Segments[i], true
}
