package block

// temporaryFiles are files that need not outlive the machine's power: nothing
// waits for the disk.
type temporaryFiles struct{ files }

func (f temporaryFiles) create(name string) (file, error) { return temporary(f.files.create(name)) }

func (f temporaryFiles) open(name string) (file, error) { return temporary(f.files.open(name)) }

func (temporaryFiles) sync(string) error { return nil }

type temporaryFile struct{ file }

func (temporaryFile) sync() error { return nil }

func temporary(f file, err error) (file, error) {
	if err != nil {
		return nil, err
	}
	return temporaryFile{f}, nil
}
