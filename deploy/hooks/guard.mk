# include guard.mk: `make clean-go-cache` is the only way in which this repository cleans Go's build cache, and it can be undone.
.PHONY: clean-go-cache undo-clean
clean-go-cache:
	go-cache-safeguard clean --unused-for 5d --prove ./...

undo-clean: ## OP=op_... as the clean said
	go-cache-safeguard undo $(OP)
