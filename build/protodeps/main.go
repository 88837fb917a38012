// Command protodeps writes the .proto sources of the third-party schemas that proto/
// imports into the folder named by its argument. It prints them from the descriptors
// compiled into the Go packages the service links, so that nothing is downloaded or
// vendored and the versions cannot drift from go.mod.
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/jhump/protoreflect/v2/protoprint"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	_ "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	_ "google.golang.org/genproto/googleapis/api/annotations"
	_ "google.golang.org/genproto/googleapis/rpc/errdetails" // proto/ does not import it, clients decode errors with it
	_ "google.golang.org/genproto/googleapis/rpc/status"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: protodeps DIR")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "protodeps:", err)
		os.Exit(1)
	}
}

func run(dir string) (err error) {
	var printer protoprint.Printer
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		switch file.Package() {
		case "buf.validate", "google.api", "google.rpc":
			err = write(&printer, dir, file)
		}
		return err == nil
	})
	return err
}

func write(printer *protoprint.Printer, dir string, file protoreflect.FileDescriptor) error {
	var text bytes.Buffer
	if err := printer.PrintProtoFile(file, &text); err != nil {
		return fmt.Errorf("%s: %w", file.Path(), err)
	}
	path := filepath.Join(dir, filepath.FromSlash(file.Path()))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, text.Bytes(), 0o644)
}
