module github.com/vrproxy/vrproxy/e2e

go 1.26.0

require (
	github.com/jackc/pgx/v5 v5.12.0
	github.com/vrproxy/vrproxy v0.0.0
)

require (
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	go.uber.org/multierr v1.10.0 // indirect
	go.uber.org/zap v1.28.0 // indirect
	golang.org/x/text v0.42.0 // indirect
)

replace github.com/vrproxy/vrproxy => ../
