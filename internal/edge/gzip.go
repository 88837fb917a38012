package edge

import (
	"bytes"
	"compress/gzip"
	"hash/maphash"
	"io"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectgzip"
	"github.com/maypok86/otter/v2"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip" // registered first, so that ours replaces it
)

// grpc-go answers INTERNAL for a message that does not decompress, before anyone is asked,
// although it is the client's doing. This compressor makes of such a message one that does
// not decode, which the door answers as it should. The registry of compressors is global in
// grpc-go and may be written during initialization only.
func init() {
	if base := encoding.GetCompressor("gzip"); base != nil {
		encoding.RegisterCompressor(forgiving{base})
	}
}

type forgiving struct{ encoding.Compressor }

// broken begins no protobuf message: a field number of 0 does not exist.
var broken = []byte{0}

// Decompress reads at most one byte more than the server takes, so that grpc-go can say that
// the message is too large.
func (f forgiving) Decompress(r io.Reader) (io.Reader, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return bytes.NewReader(broken), nil //nolint:nilerr // the door says it better
	}
	b, err := io.ReadAll(io.LimitReader(z, maxMessage+1))
	if err != nil {
		return bytes.NewReader(broken), nil //nolint:nilerr // likewise
	}
	return bytes.NewReader(b), nil
}

// compressedBytes bounds the memory of replies kept with their compressed form.
const compressedBytes = 32 << 20

// compressor is gzip on the HTTP port. It keeps what it compressed: compressing a page costs
// many times what everything else about serving it does, and most pages go out again and
// again.
type compressor struct {
	connect.Compressor
	kept *otter.Cache[uint64, compressed]
	seed maphash.Seed
}

type compressed struct{ plain, small []byte }

func newCompressor() (*compressor, error) {
	kept, err := otter.New(&otter.Options[uint64, compressed]{
		MaximumWeight: compressedBytes,
		Weigher:       func(_ uint64, c compressed) uint32 { return uint32(len(c.plain) + len(c.small) + 200) },
	})
	return &compressor{Compressor: connectgzip.New(), kept: kept, seed: maphash.MakeSeed()}, err
}

// Compress implements connect.Compressor.
func (c *compressor) Compress(dst io.Writer) (io.WriteCloser, error) {
	return &compression{by: c, dst: dst}, nil
}

// compression is one reply on its way.
type compression struct {
	by    *compressor
	dst   io.Writer
	plain []byte
}

func (c *compression) Write(b []byte) (int, error) {
	c.plain = append(c.plain, b...)
	return len(b), nil
}

func (c *compression) Close() error {
	key := maphash.Bytes(c.by.seed, c.plain)
	found, ok := c.by.kept.GetIfPresent(key)
	if !ok || !bytes.Equal(found.plain, c.plain) {
		var small bytes.Buffer
		z, err := c.by.Compressor.Compress(&small)
		if err != nil {
			return err
		}
		if _, err := z.Write(c.plain); err != nil {
			return err
		}
		if err := z.Close(); err != nil {
			return err
		}
		found = compressed{c.plain, small.Bytes()}
		c.by.kept.Set(key, found)
	}
	_, err := c.dst.Write(found.small)
	return err
}
