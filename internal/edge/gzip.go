package edge

import (
	"bytes"
	"compress/gzip"
	"io"

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
		return bytes.NewReader(broken), nil
	}
	b, err := io.ReadAll(io.LimitReader(z, maxMessage+1))
	if err != nil {
		return bytes.NewReader(broken), nil
	}
	return bytes.NewReader(b), nil
}
