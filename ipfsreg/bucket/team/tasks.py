"""What the `ipfsreg team` commands ask of a daemon, or of a registry alone."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ipfsreg.bucket.errors import Refused
from ipfsreg.bucket.opened import BackendTask
from ipfsreg.encryption.documents import Member, Role, is_name
from ipfsreg.encryption.member_key import parse_public_key

from .changes import NotAllowed
from .rewrap import Rewrapping
from .team import Team


def team_tasks(team: Team, rewrapping: Rewrapping) -> dict[str, BackendTask]:
    """By name."""

    async def list_members(arguments: Mapping[str, str]) -> dict[str, Any]:
        await team.refresh()
        return await described(team)

    async def add(arguments: Mapping[str, str]) -> dict[str, Any]:
        name = arguments.get("name")
        if name is not None and not is_name(name):
            raise Refused("a member's name is at most 64 printable characters")
        try:
            public, role = parse_public_key(arguments["key"]), Role(arguments["role"])
        except ValueError as error:
            raise Refused(str(error)) from None
        member = await team.add(public, name, role)
        return described_member(team, member)

    async def remove(arguments: Mapping[str, str]) -> dict[str, Any]:
        await team.refresh()
        member = await team.remove(find_member(team, arguments["who"]))
        return described_member(team, member) | {"generation": team.view.newest}

    async def rotate(arguments: Mapping[str, str]) -> dict[str, Any]:
        return {"generation": await team.rotate(reencrypt=bool(arguments.get("reencrypt")))}

    async def rewrap(arguments: Mapping[str, str]) -> dict[str, Any]:
        await team.refresh()
        if not team.is_owner:
            raise NotAllowed("only an owner brings content to another generation, and this daemon's member is none")
        return asdict(await rewrapping.run())

    return {
        "team-list": list_members,
        "team-add": add,
        "team-remove": remove,
        "team-rotate": rotate,
        "team-rewrap": rewrap,
    }


async def described(team: Team) -> dict[str, Any]:
    """The team, as JSON can hold it."""
    view, holders = team.view, await team.holders()
    members = sorted(view.roster.members.values(), key=lambda each: (not each.is_member, each.name, each.public))
    return {
        "bucket": view.bucket.bucket_id.hex(),
        "founder": view.bucket.founder.hex(),
        "you": team.public.hex(),
        "generation": view.newest,
        "rewrapped": await team.rewrapped(),
        "members": [described_member(team, each) | {"has_key": each.public in holders} for each in members],
        "problems": list(view.problems),
    }


def described_member(team: Team, member: Member) -> dict[str, Any]:
    """A member, as JSON can hold it."""
    return {
        "key": member.public.hex(),
        "name": member.name,
        "role": member.role.value,
        "since": member.since,
        "until": member.until,
        "you": member.public == team.public,
    }


def find_member(team: Team, who: str) -> bytes:
    """The public key of the member of a name or key. `NotAllowed` where there is none, or more than one."""
    present = team.view.roster.present()
    found = [each.public for each in present if who in {each.name, each.public.hex()}]
    if len(found) > 1:
        raise NotAllowed(f"{len(found)} members are named {who}: say which by the key (`ipfsreg team list`)")
    if not found:
        raise NotAllowed(f"there is no member {who}: `ipfsreg team list` names them")
    return found[0]
