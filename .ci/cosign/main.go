// cosign, as far as it signs images with keys and verifies that: its own code behind a smaller command line.
//
//	cosign generate-key-pair             writes cosign.key, which has no password, and cosign.pub
//	cosign sign KEY IMAGE [oci-1-1]      by a tag beside the image, or by a referrer
//	cosign verify KEY IMAGE [oci-1-1]
//
// The whole of cosign has the key services of all clouds, Kubernetes and two languages of policies in it, which take
// minutes to compile. This is compiled within cosign's sources, in a folder of its own.
package main

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"os"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/sigstore/cosign/v2/internal/pkg/cosign/payload"
	"github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/cosign/v2/pkg/oci/mutate"
	ociremote "github.com/sigstore/cosign/v2/pkg/oci/remote"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	signed "github.com/sigstore/sigstore/pkg/signature/payload"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, arguments []string) error {
	if len(arguments) == 1 && arguments[0] == "generate-key-pair" {
		return generate()
	}
	if len(arguments) < 3 {
		return errors.New("usage: cosign generate-key-pair | sign KEY IMAGE [oci-1-1] | verify KEY IMAGE [oci-1-1]")
	}
	key, err := os.ReadFile(arguments[1])
	if err != nil {
		return err
	}
	image, err := name.ParseReference(arguments[2])
	if err != nil {
		return err
	}
	// As `docker login` has it.
	registry := ociremote.WithRemoteOptions(remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	referrers := len(arguments) > 3 && arguments[3] == "oci-1-1"
	if arguments[0] == "sign" {
		return sign(ctx, key, image, registry, referrers)
	}
	return verify(ctx, key, image, registry, referrers)
}

func generate() error {
	keys, err := cosign.GenerateKeyPair(func(bool) ([]byte, error) { return nil, nil })
	if err != nil {
		return err
	}
	if err := os.WriteFile("cosign.key", keys.PrivateBytes, 0o600); err != nil {
		return err
	}
	return os.WriteFile("cosign.pub", keys.PublicBytes, 0o644)
}

func sign(ctx context.Context, key []byte, image name.Reference, registry ociremote.Option, referrers bool) error {
	signer, err := cosign.LoadPrivateKey(key, nil, nil)
	if err != nil {
		return err
	}
	digest, err := ociremote.ResolveDigest(image, registry)
	if err != nil {
		return err
	}
	text, err := signed.Cosign{Image: digest}.MarshalJSON()
	if err != nil {
		return err
	}
	made, _, err := payload.NewSigner(signer).Sign(ctx, bytes.NewReader(text))
	if err != nil {
		return err
	}
	entity, err := ociremote.SignedEntity(digest, registry)
	if err != nil {
		return err
	}
	attached, err := mutate.AttachSignatureToEntity(entity, made)
	if err != nil {
		return err
	}
	if referrers {
		return ociremote.WriteSignaturesExperimentalOCI(digest, attached, registry)
	}
	return ociremote.WriteSignatures(digest.Repository, attached, registry)
}

func verify(ctx context.Context, key []byte, image name.Reference, registry ociremote.Option, referrers bool) error {
	public, err := cryptoutils.UnmarshalPEMToPublicKey(key)
	if err != nil {
		return err
	}
	verifier, err := signature.LoadVerifier(public, crypto.SHA256)
	if err != nil {
		return err
	}
	found, _, err := cosign.VerifyImageSignatures(ctx, image, &cosign.CheckOpts{
		SigVerifier:        verifier,
		ClaimVerifier:      cosign.SimpleClaimVerifier,
		IgnoreTlog:         true,
		IgnoreSCT:          true,
		ExperimentalOCI11:  referrers,
		RegistryClientOpts: []ociremote.Option{registry},
	})
	if err != nil {
		return err
	}
	fmt.Println(len(found), "signatures are good")
	return nil
}
