# Prerequisites: Go, a C++17 compiler, Python 3 with pip (only to fetch libtorch). x86-64 Linux.
#
#   make run     build, then serve on 127.0.0.1:8080 with the builtin base
#   make test    every test
#   make help    the other targets

SHELL := /bin/bash
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/valence
LIBTORCH := $(or $(VALENCE_LIBTORCH),$(CACHE)/libtorch-2.11.0)
GLUE := $(CACHE)/glue-1
SETUP := runtime/torch/setup
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

export CGO_ENABLED := 1
export CPLUS_INCLUDE_PATH := $(LIBTORCH)/torch/include:$(LIBTORCH)/torch/include/torch/csrc/api/include
export CGO_CFLAGS := -O2 -w
export CGO_CXXFLAGS := -O2 -w -include $(GLUE)/compat.h
export CGO_LDFLAGS := -Wl,--as-needed -L$(GLUE) -L$(LIBTORCH)/torch/lib -L$(LIBTORCH)/nvidia/cu13/lib -Wl,-rpath,$(LIBTORCH)/torch/lib -Wl,-rpath,$(LIBTORCH)/nvidia/cu13/lib -Wl,--allow-shlib-undefined

.PHONY: help build run test lint bench microbench peers fixtures env clean libtorch cuda prerequisites licences

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

prerequisites:
	@for c in go:'Go 1.26 or newer (https://go.dev/dl)' g++:'a C++17 compiler (g++)' python3:'Python 3 with pip'; do \
	  command -v $${c%%:*} >/dev/null || { echo "missing: $${c#*:}" >&2; exit 1; }; done
	@[ -e $(LIBTORCH)/torch/lib/libtorch_cpu.so ] || python3 -m pip --version >/dev/null 2>&1 || { echo "missing: pip for python3 (Debian: python3-pip)" >&2; exit 1; }

libtorch: prerequisites ## fetch libtorch into the user's cache, once
	@[ -n "$(VALENCE_LIBTORCH)" ] || [ -e $(LIBTORCH)/cpu.ok ] || python3 $(SETUP)/libtorch.py $(LIBTORCH)
	@$(SETUP)/glue.sh $(GLUE)

cuda: prerequisites ## fetch the CUDA libraries that --device cuda loads, once
	python3 $(SETUP)/libtorch.py --cuda $(LIBTORCH)

build: libtorch ## bin/valence
	@[ -e bin/valence ] || echo "building; the first build compiles gotch's C++ binding, about 5 minutes"
	go build -o bin/valence ./cmd/valence

run: build ## serve on 127.0.0.1:8080 with the builtin base; ARGS="--listen :9000" adds flags
	exec bin/valence serve $(ARGS)

test: libtorch ## every test
	go vet ./...
	go test -timeout 30m ./...

lint: libtorch ## golangci-lint, with the import rules
	go run $(GOLANGCI) run ./...

fixtures: ## make the reference fixtures again with transformers and PEFT (needs Python 3.11)
	python3.11 -m venv $(CACHE)/fixtures
	$(CACHE)/fixtures/bin/pip install --quiet -r runtime/mt5/testdata/requirements.txt -r runtime/tokenizer/testdata/requirements.txt -r runtime/train/metrics/testdata/requirements.txt
	cd runtime/tokenizer/testdata && $(CACHE)/fixtures/bin/python make_layouts.py
	for f in runtime/safetensors runtime/mt5 runtime/mt5/checkpoint runtime/train/metrics adapters/peft/pickle adapters/peft; do \
	  echo "$$f"; OMP_NUM_THREADS=1 $(CACHE)/fixtures/bin/python $$f/testdata/make.py || exit 1; done

PEERS := $(CACHE)/peers
PEERS_NEED := cmd/internal/bench/peers/requirements.txt

peers: prerequisites ## make the Python environment that bench needs, with PEFT and CTranslate2, once (3 GB to fetch, 5 GB on disk)
	@cmp -s $(PEERS_NEED) $(PEERS)/requirements.txt || { \
	  rm -rf $(PEERS) && python3 -m venv $(PEERS) && $(PEERS)/bin/pip install --quiet --disable-pip-version-check -r $(PEERS_NEED) && \
	  cp $(PEERS_NEED) $(PEERS)/requirements.txt; }

bench: build $(if $(findstring --no-peers,$(ARGS)),,peers) ## measure this machine beside PEFT and CTranslate2; ARGS="--questions http,cold" adds flags
	bin/valence bench --python $(PEERS)/bin/python $(ARGS)

microbench: libtorch ## time the tokenizer and the builtin base
	GOMP_SPINCOUNT=1000 go test -run '^$$' -bench . -benchmem ./runtime/...

licences: libtorch ## collect in bin/licences the licence texts that go with the binary
	@rm -rf bin/licences && mkdir -p bin/licences/go && cp "$$(go env GOROOT)/LICENSE" bin/licences/go
	@go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}}@{{.Version}} {{.Dir}}{{end}}{{end}}' ./cmd/valence | sort -u | while read -r m d; do \
	  mkdir -p "bin/licences/$$m"; \
	  find "$$d" -maxdepth 2 -type f \( -ipath "$$d/licen[cs]e*" -o -ipath "$$d/copying*" -o -ipath "$$d/notice*" \) ! -name '*.go' -exec cp -f {} "bin/licences/$$m" \; ; \
	  [ -n "$$(ls "bin/licences/$$m")" ] || { echo "$$m has no licence file" >&2; exit 1; }; done

env: ## exports for editors and shells: eval "$(make env)"
	@for v in CGO_ENABLED CPLUS_INCLUDE_PATH CGO_CFLAGS CGO_CXXFLAGS CGO_LDFLAGS; do printf "export %s='%s'\n" "$$v" "$${!v}"; done

clean: ## remove what was built here (the cache stays: $(CACHE))
	rm -rf bin
