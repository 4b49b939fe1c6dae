// The pull of `nerdctl pull ipfs://CID`, with the library that nerdctl does it with, into a content store.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/platforms"
	"github.com/containerd/stargz-snapshotter/ipfs"
)

func pull(cid, directory string) error {
	ctx := context.Background()
	store, err := local.NewStore(directory)
	if err != nil {
		return err
	}
	resolver, err := ipfs.NewResolver(ipfs.ResolverOptions{Scheme: "ipfs"})
	if err != nil {
		return err
	}
	name, descriptor, err := resolver.Resolve(ctx, cid)
	if err != nil {
		return err
	}
	fetcher, err := resolver.Fetcher(ctx, name)
	if err != nil {
		return err
	}
	children := images.LimitManifests(images.FilterPlatforms(images.ChildrenHandler(store), platforms.Default()), platforms.Default(), 1)
	handler := images.Handlers(remotes.FetchHandler(store, fetcher), children)
	if err := images.Dispatch(ctx, handler, nil, descriptor); err != nil {
		return err
	}
	fmt.Println(descriptor.Digest)
	return nil
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: ipfs-pull CID DIRECTORY")
		os.Exit(2)
	}
	if err := pull(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
