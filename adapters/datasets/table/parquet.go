package table

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// parquetReader reads columns at the top of a Parquet file's schema that are no lists and
// no structures. Those have names, too, so that whoever asks for one can be told why not.
//
// It knows the little of the format that tables of texts need: values plain or in a
// dictionary, packed by snappy, gzip, zstd or not at all. In return it holds one page of
// each column, and a damaged file cannot make it hold more: a general reader takes the
// memory that the file claims to need.
type parquetReader struct {
	in      io.ReaderAt
	size    int64
	max     int // bytes of a text
	file    *parquetFile
	columns []parquetColumn
	chosen  []*parquetColumn
	group   int   // number of the next row group
	left    int64 // rows of the current one
	row     int
}

// sizedReaderAt is what Parquet needs: its index stands at the file's end.
type sizedReaderAt interface {
	io.ReaderAt
	io.Seeker
}

func openParquet(r io.Reader, o Options) (*parquetReader, error) {
	in, ok := r.(sizedReaderAt)
	if !ok {
		return nil, fmt.Errorf("%w: Parquet needs a file, not a stream", ErrFile)
	}
	size, err := in.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRead, err)
	}
	index, err := readIndex(in, size)
	if err != nil {
		return nil, err
	}
	p := &parquetReader{in: in, size: size, max: o.MaxRecord}
	if p.file, err = parseParquetFile(index); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	if p.columns, err = p.file.columns(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	return p, nil
}

// maxIndex bounds the file's description of itself, which is read as a whole.
const maxIndex = 16 << 20

// readIndex gives what stands between the last page and the file's end.
func readIndex(in io.ReaderAt, size int64) ([]byte, error) {
	const mark, tail = 4, 8
	if size == 0 {
		return nil, ErrEmpty
	}
	if size < mark+tail {
		return nil, fmt.Errorf("%w: %d bytes are too few for Parquet", ErrFile, size)
	}
	var ends [mark + tail]byte
	if _, err := in.ReadAt(ends[:mark], 0); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRead, err)
	}
	if _, err := in.ReadAt(ends[mark:], size-tail); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRead, err)
	}
	length := int64(binary.LittleEndian.Uint32(ends[mark:]))
	switch first, last := string(ends[:mark]), string(ends[8:]); {
	case first == "PARE" || last == "PARE":
		return nil, fmt.Errorf("%w: it is encrypted", ErrFile)
	case first != "PAR1":
		return nil, fmt.Errorf("%w: it does not begin as Parquet does", ErrFile)
	case last != "PAR1":
		return nil, fmt.Errorf("%w: it does not end as Parquet does; it may have been cut", ErrFile)
	case length > size-mark-tail:
		return nil, fmt.Errorf("%w: its index is %d bytes long, more than the file", ErrFile, length)
	case length > maxIndex:
		return nil, fmt.Errorf("%w: its index is %d bytes long; at most %d are allowed: write fewer columns or row groups", ErrFile, length, maxIndex)
	}
	index := make([]byte, length)
	if _, err := in.ReadAt(index, size-tail-length); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRead, err)
	}
	return index, nil
}

func (p *parquetReader) Columns() []string {
	names := make([]string, len(p.columns))
	for i, c := range p.columns {
		names[i] = c.name
	}
	return names
}

func (p *parquetReader) Select(names ...string) error {
	at, err := selectable(p.Columns(), names)
	if err != nil {
		return err
	}
	for _, i := range at {
		c := p.columns[i]
		if c.nested {
			return fmt.Errorf("%w %q holds lists or structures; a column of texts or numbers is needed", ErrColumn, c.name)
		}
		p.chosen = append(p.chosen, &c)
	}
	return nil
}

// pageOfRecords is how many of the longest rows a page may be as long as.
const pageOfRecords = 4

func (p *parquetReader) Next() (*Record, error) {
	if err := p.nextGroup(); err != nil {
		return nil, err
	}
	p.left--
	p.row++
	r := &Record{Row: p.row, Cells: make([]Cell, len(p.chosen))}
	for i, c := range p.chosen {
		var err error
		if r.Cells[i], err = c.next(pageOfRecords * int64(p.max)); err != nil {
			return nil, p.fail(c, err)
		}
		if err := p.check(r.Cells[i].Text); err != nil && r.Err == nil {
			r.Err = &CellError{c.name, err}
		}
	}
	return r, nil
}

// nextGroup goes on to a row group that has rows, if the current one has none left.
func (p *parquetReader) nextGroup() error {
	for p.left == 0 {
		if p.group == len(p.file.groups) {
			return io.EOF
		}
		g := &p.file.groups[p.group]
		p.group++
		p.left = g.rows
		for _, c := range p.chosen {
			if err := c.open(p.in, p.size, g); err != nil {
				return p.fail(c, err)
			}
		}
	}
	return nil
}

func (p *parquetReader) fail(c *parquetColumn, err error) error {
	if errors.Is(err, ErrRead) {
		return err
	}
	return fmt.Errorf("%w: row %d: column %q: %w", ErrFile, p.row, c.name, err)
}

func (p *parquetReader) check(text string) error {
	if len(text) > p.max {
		return fmt.Errorf("%w: it has more than %d bytes", ErrTooLong, p.max)
	}
	return checkUTF8(text)
}
