module github.com/aitheater/theater

go 1.26.0

require (
	buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go v1.36.12-20260825204119-511051f7f437.1
	github.com/jhump/protoreflect/v2 v2.0.0-beta.2
	google.golang.org/genproto/googleapis/api v0.0.0-20260928230214-8a89bd6388cc
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260928230214-8a89bd6388cc
	google.golang.org/protobuf v1.36.12
)

require (
	github.com/stretchr/testify v1.12.1 // indirect
	golang.org/x/sync v0.24.0 // indirect
	google.golang.org/grpc v1.85.0 // indirect
	google.golang.org/grpc/cmd/protoc-gen-go-grpc v1.6.2 // indirect
)

tool (
	google.golang.org/grpc/cmd/protoc-gen-go-grpc
	google.golang.org/protobuf/cmd/protoc-gen-go
)

require buf.build/go/protovalidate v1.4.0

require connectrpc.com/connect/v2 v2.0.2

require github.com/XSAM/otelsql v0.44.0

require github.com/alicebob/miniredis/v2 v2.40.0

require github.com/blevesearch/bleve/v2 v2.6.1

require github.com/caarlos0/env/v11 v11.4.2

require github.com/chromedp/chromedp v0.23.0

require github.com/coreos/go-oidc/v3 v3.21.0

require github.com/failsafe-go/failsafe-go v0.9.8

require github.com/grpc-ecosystem/go-grpc-middleware/v2 v2.3.4

require github.com/jackc/pgx/v5 v5.12.0

require github.com/maypok86/otter/v2 v2.4.0

require github.com/mozillazg/go-pinyin v0.21.0

require github.com/pressly/goose/v3 v3.28.0

require github.com/redis/go-redis/extra/redisotel/v9 v9.23.0

require github.com/redis/go-redis/v9 v9.23.0

require go.einride.tech/aip v0.86.3

require go.opentelemetry.io/contrib/bridges/otelslog v0.21.0

require go.opentelemetry.io/contrib/exporters/autoexport v0.72.0

require go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc v0.72.0

require go.opentelemetry.io/contrib/instrumentation/runtime v0.72.0

require go.uber.org/goleak v1.3.0

require modernc.org/sqlite v1.60.1

require pgregory.net/rapid v1.3.0

require cel.dev/cel-go v0.32.0 // indirect

require cel.dev/expr v0.25.3 // indirect

require github.com/RoaringBitmap/roaring/v2 v2.14.5 // indirect

require github.com/antlr4-go/antlr/v4 v4.13.1 // indirect

require github.com/beorn7/perks v1.0.1 // indirect

require github.com/bits-and-blooms/bitset v1.24.4 // indirect

require github.com/blevesearch/bleve_index_api v1.4.1 // indirect

require github.com/blevesearch/geo v0.2.6 // indirect

require github.com/blevesearch/go-faiss v1.1.5 // indirect

require github.com/blevesearch/go-porterstemmer v1.0.3 // indirect

require github.com/blevesearch/gtreap v0.1.1 // indirect

require github.com/blevesearch/mmap-go v1.2.0 // indirect

require github.com/blevesearch/scorch_segment_api/v2 v2.4.10 // indirect

require github.com/blevesearch/segment v0.9.1 // indirect

require github.com/blevesearch/snowballstem v0.9.0 // indirect

require github.com/blevesearch/upsidedown_store_api v1.0.2 // indirect

require github.com/blevesearch/vellum v1.2.0 // indirect

require github.com/blevesearch/zapx/v11 v11.4.3 // indirect

require github.com/blevesearch/zapx/v12 v12.4.3 // indirect

require github.com/blevesearch/zapx/v13 v13.4.3 // indirect

require github.com/blevesearch/zapx/v14 v14.4.3 // indirect

require github.com/blevesearch/zapx/v15 v15.4.3 // indirect

require github.com/blevesearch/zapx/v16 v16.3.4 // indirect

require github.com/blevesearch/zapx/v17 v17.2.3 // indirect

require github.com/cenkalti/backoff/v5 v5.0.3 // indirect

require github.com/cespare/xxhash/v2 v2.3.0 // indirect

require github.com/chromedp/cdproto v0.159.0 // indirect

require github.com/dustin/go-humanize v1.0.1 // indirect

require github.com/go-jose/go-jose/v4 v4.1.4 // indirect

require github.com/go-json-experiment/json v0.0.0-20260213210345-44df1a37e875 // indirect

require github.com/go-logr/logr v1.4.4 // indirect

require github.com/go-logr/stdr v1.2.2 // indirect

require github.com/golang/snappy v1.0.0 // indirect

require github.com/google/uuid v1.6.0 // indirect

require github.com/grpc-ecosystem/grpc-gateway/v2 v2.31.0 // indirect

require github.com/jackc/pgpassfile v1.0.0 // indirect

require github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect

require github.com/jackc/puddle/v2 v2.2.3 // indirect

require github.com/json-iterator/go v1.1.12 // indirect

require github.com/mattn/go-isatty v0.0.24 // indirect

require github.com/mfridman/interpolate v0.0.2 // indirect

require github.com/modern-go/concurrent v0.0.0-20180306012644-bacd9c7ef1dd // indirect

require github.com/modern-go/reflect2 v1.0.2 // indirect

require github.com/mschoch/smat v0.2.0 // indirect

require github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect

require github.com/ncruces/go-strftime v1.0.0 // indirect

require github.com/prometheus/client_golang v1.24.1 // indirect

require github.com/prometheus/client_model v0.6.3 // indirect

require github.com/prometheus/common v0.72.0 // indirect

require github.com/prometheus/otlptranslator v1.0.0 // indirect

require github.com/prometheus/procfs v0.22.0 // indirect

require github.com/redis/go-redis/extra/rediscmd/v9 v9.23.0 // indirect

require github.com/remyoudompheng/bigfft v0.0.0-20230129092748-24d4a6f8daec // indirect

require github.com/sethvargo/go-retry v0.4.0 // indirect

require github.com/yuin/gopher-lua v1.1.1 // indirect

require go.etcd.io/bbolt v1.4.0 // indirect

require go.opentelemetry.io/auto/sdk v1.2.1 // indirect

require go.opentelemetry.io/contrib/bridges/prometheus v0.72.0 // indirect

require go.opentelemetry.io/otel v1.47.0 // indirect

require go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc v0.23.0 // indirect

require go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp v0.23.0 // indirect

require go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc v1.47.0 // indirect

require go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp v1.47.0 // indirect

require go.opentelemetry.io/otel/exporters/otlp/otlptrace v1.47.0 // indirect

require go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc v1.47.0 // indirect

require go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp v1.47.0 // indirect

require go.opentelemetry.io/otel/exporters/prometheus v0.69.0 // indirect

require go.opentelemetry.io/otel/exporters/stdout/stdoutlog v0.23.0 // indirect

require go.opentelemetry.io/otel/exporters/stdout/stdoutmetric v1.47.0 // indirect

require go.opentelemetry.io/otel/exporters/stdout/stdouttrace v1.47.0 // indirect

require go.opentelemetry.io/otel/log v1.47.0 // indirect

require go.opentelemetry.io/otel/metric v1.47.0 // indirect

require go.opentelemetry.io/otel/sdk v1.47.0 // indirect

require go.opentelemetry.io/otel/sdk/log v1.47.0 // indirect

require go.opentelemetry.io/otel/sdk/metric v1.47.0 // indirect

require go.opentelemetry.io/otel/trace v1.47.0 // indirect

require go.opentelemetry.io/proto/otlp v1.11.1 // indirect

require go.uber.org/atomic v1.12.0 // indirect

require go.uber.org/multierr v1.11.0 // indirect

require go.yaml.in/yaml/v3 v3.0.5 // indirect

require golang.org/x/exp v0.0.0-20260908205506-85c1c2202aba // indirect

require golang.org/x/net v0.60.0 // indirect

require golang.org/x/oauth2 v0.37.0 // indirect

require golang.org/x/sys v0.48.0 // indirect

require golang.org/x/text v0.42.0 // indirect

require modernc.org/libc v1.77.1 // indirect

require modernc.org/mathutil v1.7.1 // indirect

require (
	golang.org/x/crypto v0.57.0 // indirect
	modernc.org/memory v1.12.1 // indirect
)
