"""Parts of full-size families: where they come from, their download, hashes and licences."""
