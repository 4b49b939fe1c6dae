"""What must be true of a registry whatever its clients and the collector do, in whatever order."""

from dataclasses import asdict

from ipfsreg.registry import layout
from ipfsreg.registry.digest import digest_of, parse_digest
from ipfsreg.registry.names import Repository, Tag
from tests.bucket.scheduled import Event

from .clients import GRACE, UNTAGGED, Clients, Operation, Told
from .known import BY_DIGEST, BY_TEXT, MANIFESTS, REPOSITORIES, TAGS, WITH_DAG, Known


class World(Clients):
    """Clients, and what is asked of the bucket when all of them have ended."""

    def check(self) -> None:
        """Note in `problems` what is not as it must be."""
        for repository in REPOSITORIES:
            for tag in TAGS:
                self._check_tag(repository, tag)
        for told in self.told:
            self._check_told(told)
        for operation in self.operations:
            if operation.ended is not None and operation.kind in {"delete manifest", "delete blob"}:
                self._check_deleted(operation)
        self.run([("catalog", self.list_catalog)])
        listed = {Repository(name) for name in self.catalog or ()}
        present = {each for each in REPOSITORIES if self._files_in(f"{layout.REPOSITORIES}/{each}/_manifests/")}
        if listed != present:
            self.problems.append(f"the catalog has {listed}, the bucket {present}")

    def before(self, event: Event) -> None:
        """The collector takes nothing that a tag leads to at that moment."""
        action, _, path = event.label.partition(" ")
        if action == "remove" and event.owner.endswith(" collect") and path in self._reachable():
            self.problems.append(f"{path} was taken while it could be reached")

    def _check_deleted(self, delete: Operation) -> None:
        """What was deleted is gone, unless somebody pushed it again and did not surely do so before."""
        assert delete.digest is not None
        if delete.kind == "delete manifest":
            again = [each for each in self.operations if each.kind == "put" and each.digest == delete.digest]
            if any(each.repository == delete.repository and not each.surely_before(delete) for each in again):
                return
            path = layout.manifest_record(delete.repository, delete.digest)
        else:
            added = [each for each in self.operations if each.kind == "add blob" and each.digest == delete.digest]
            if any(each.repository == delete.repository and not each.surely_before(delete) for each in added):
                return
            path = layout.blob_link(delete.repository, delete.digest)
        if path in self.bucket.files:
            self.problems.append(f"{delete.kind} had no effect on {path}")

    def _files_in(self, directory: str) -> list[str]:
        return [path for path in self.bucket.files if path.startswith(directory)]

    def _check_tag(self, repository: Repository, tag: Tag) -> None:
        content = self.bucket.files.get(layout.tag(repository, tag))
        value = None if content is None else parse_digest(content.decode().strip())
        mine = [each for each in self.operations if each.repository == repository]
        puts = self._tag_puts(repository, tag)
        tag_deletes = [each for each in mine if each.kind == "delete tag" and each.thing == tag]
        deletes = [each for each in mine if each.kind == "delete manifest"]

        def overruled(by: Operation) -> bool:
            """Whether a put that surely came later says something else."""
            return any(by.surely_before(put) for put in puts if put.ended is not None)

        if value is None:
            if not any(put.ended is not None for put in puts):
                return
            if any(not overruled(each) for each in tag_deletes):
                return
            for delete in deletes:
                # It takes the tag along only where the tag pointed to its manifest, last of all.
                others = [each for each in puts if each.digest != delete.digest and each.ended is not None]
                if not overruled(delete) and any(
                    put.digest == delete.digest and not any(put.surely_before(each) for each in others) for put in puts
                ):
                    return
            self.problems.append(f"the tag {repository}:{tag} is lost")
            return
        later = [*puts, *tag_deletes]
        if not any(
            put.digest == value
            and not any(put.surely_before(each) for each in later if each.ended is not None)
            and not any(put.surely_before(each) for each in deletes if each.ended is not None and each.digest == value)
            for put in puts
        ):
            self.problems.append(f"the tag {repository}:{tag} points to {value}, which is out of date")
        if layout.manifest_record(repository, value) not in self.bucket.files:
            self.problems.append(f"the tag {repository}:{tag} points to {value}, which is not there")

    def _check_told(self, told: Told) -> None:
        """Within the grace period a client may rely on what it was told, unless a client took it away."""
        if self._was_deleted(told.repository, told.digest, *told.through):
            return
        files, where = self.bucket.files, f"{told.kind} {told.digest} of {told.repository}"
        path = layout.blob_link if told.kind == "blob" else layout.manifest_record
        if path(told.repository, told.digest) not in files:
            self.problems.append(f"{where} is lost")
        elif digest_of(files.get(layout.blob(told.digest), b"missing")) != told.digest:
            self.problems.append(f"the content of {where} is lost")
        elif told.digest == WITH_DAG and layout.dag(told.digest) not in files and not self.has_failed:
            self.problems.append(f"the DAG of {where} is lost")
        elif told.kind == "manifest":
            manifest = BY_DIGEST[told.digest]
            if manifest.subject is not None:
                entry = layout.referrer(told.repository, manifest.subject.digest, told.digest)
                if entry not in files:
                    self.problems.append(f"{where} is not listed as a referrer")

    def check_quiet(self) -> None:
        """Long after, with nobody there: one run leaves what is reachable and nothing else, and a dry one says so."""
        self.clock.advance(GRACE + UNTAGGED + 1)
        before, expected = dict(self.bucket.files), self._reachable()
        self.collections.clear()
        self.run([("dry run", lambda: self.collect(dry_run=True))])
        if self.bucket.files != before:
            self.problems.append("a dry run changed something")
        self.run([("last run", self.collect)])
        if set(self.bucket.files) != expected:
            self.problems.append(
                f"the last run left {sorted(set(self.bucket.files) - expected)} "
                f"and took {sorted(expected - set(self.bucket.files))}"
            )
        dry, real = (asdict(each) | {"dry_run": None} for each in self.collections)
        if dry != real:
            self.problems.append(f"a dry run said {dry}, the real one did {real}")
        freed = sum(len(content) for path, content in before.items() if path not in expected and "blobs/" in path[:6])
        if real["freed"] != freed:
            self.problems.append(f"it says that it freed {real['freed']} bytes, and freed {freed}")

    def _reachable(self) -> set[str]:
        files = self.bucket.files
        reachable = {layout.VERSION_FILE}
        for repository in REPOSITORIES:
            prefix = f"{layout.REPOSITORIES}/{repository}/"
            tags = self._files_in(f"{prefix}_tags/")
            present = {each for each in MANIFESTS if layout.manifest_record(repository, each.digest) in files}
            marked: set[Known] = set()
            digests = [files[path].decode().strip() for path in tags]
            pending = [manifest for digest in digests if (manifest := BY_TEXT.get(digest)) is not None]
            while pending:
                manifest = pending.pop()
                if manifest in marked or manifest not in present:
                    continue
                marked.add(manifest)
                pending.extend(manifest.children)
                pending.extend(each for each in present if each.subject == manifest)
            reachable.update(tags)
            for manifest in marked:
                reachable |= {layout.manifest_record(repository, manifest.digest), layout.blob(manifest.digest)}
                if manifest.subject is not None:
                    reachable.add(layout.referrer(repository, manifest.subject.digest, manifest.digest))
                for blob in manifest.blobs:
                    link = layout.blob_link(repository, digest_of(blob))
                    if link in files:
                        digest = digest_of(blob)
                        reachable |= {link, layout.blob(digest), layout.dag(digest)}
        return reachable & set(files)
