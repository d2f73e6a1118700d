"""Draws the pictures of quickstart.yaml: twelve sprites of 24x24 pixels, with a caption beside each.

    python recipes/draw_sprites.py            writes recipes/sprites/*.png and *.txt, always the same bytes

A sprite is drawn on a grid of 24x24 with a dark outline, stands in the middle of a flat 32x32 background (the trainer
drops transparency) and is doubled to 64x64, the size it is trained at: every pixel of it stays a crisp square.
"""

# ruff: noqa: E501, INP001 - the table of sprites is a picture; a script beside its pictures is no package

from __future__ import annotations

import struct
import sys
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

SIZE, MARGIN, SCALE = 24, 4, 2
OUTLINE = "#1d1528"
CLEAR = "."
CLOSING = "sharp pixel edges, hard color borders, retro pixel art style"


@dataclass(frozen=True)
class Sprite:
    """Rows of one letter a pixel. Rows of twelve are the left half of a picture that is its own mirror image."""

    name: str
    words: str
    background: tuple[str, str]  # its name, its colour
    colours: dict[str, str]
    rows: str
    touches: tuple[tuple[int, int, str], ...] = ()  # (column, row, letter): what is not the same on both sides


# fmt: off
SPRITES = (
    Sprite(
        "potion",
        "a round glass potion bottle with magenta liquid and a cork",
        ("pale blue background", "#b8d8e8"),
        {"c": "#b5793f", "C": "#8a5527", "g": "#7fa8c9", "w": "#e6f4fa", "p": "#f590d0", "P": "#d83a9c", "D": "#93206f"},
        """
        ............
        .........ccc
        .........cCC
        .........CCC
        ........gggg
        .........gww
        .........gww
        .........gww
        ........ggww
        .......ggwww
        ......ggwwww
        .....ggwwwww
        .....gwwwwww
        ....ggpppppp
        ....gPPPPPPP
        ....gPPPPPPP
        ....gPPPPPPP
        ....gDPPPPPP
        .....gDPPPPP
        .....gDDPPPP
        ......gDDDDD
        .......ggggg
        ............
        ............
        """,
        ((8, 15, "w"), (7, 16, "w"), (7, 17, "w"), (13, 16, "p"), (15, 18, "p"), (11, 18, "p"), (14, 14, "p")),
    ),
    Sprite(
        "slime",
        "a happy green slime with big eyes",
        ("lilac background", "#d9c8ec"),
        {"l": "#b9f27c", "g": "#6cc644", "d": "#3f8f34", "w": "#ffffff", "k": "#1d1528", "r": "#f08a8a"},
        """
        ............
        ............
        ............
        ............
        ............
        ...........g
        ..........gg
        ..........gg
        .........ggg
        .......ggggg
        .....ggggggg
        ....gggggggg
        ....gggggggg
        ...ggggkkggg
        ...gggkkkkgg
        ...gggkkkkgg
        ...gggkkkkgg
        ..grrggkkggg
        ..grrggggggg
        ..ggggggggkk
        ..dggggggggk
        ..ddgggggggg
        ...ddddddddd
        ............
        """,
        (
            (7, 14, "w"), (7, 15, "w"), (15, 14, "w"), (15, 15, "w"), (7, 11, "l"), (8, 10, "l"), (9, 10, "l"),
            (6, 12, "l"), (11, 7, "l"), (11, 6, "l"), (10, 8, "l"),
        ),
    ),
    Sprite(
        "sword",
        "a steel sword with a golden hilt and a ruby pommel",
        ("dusty rose background", "#e8c4c0"),
        {"s": "#dfe8ee", "S": "#9fb2c2", "w": "#ffffff", "g": "#f2c14e", "G": "#c08a2b", "h": "#7a4a2b", "r": "#d9304c"},
        """
        ........................
        ....................www.
        ...................wsss.
        ..................wsssS.
        .................wsssS..
        ................wsssS...
        ...............wsssS....
        ..............wsssS.....
        .............wsssS......
        ............wsssS.......
        ...........wsssS........
        ..gg......wsssS.........
        ..ggg....wsssS..........
        ...ggg..wsssS...........
        ....gggwsssS............
        .....gggssS.............
        ......gggS..............
        .....hhGgg..............
        ....hhh.Ggg.............
        ...hhh...GGg............
        .rrhh.....GG............
        .rrr....................
        .rr.....................
        ........................
        """,
    ),
    Sprite(
        "mushroom",
        "a red mushroom with white spots and a friendly face",
        ("mint background", "#c4ead0"),
        {"r": "#e0393e", "R": "#a8242f", "w": "#fff6e9", "b": "#f3dcb4", "B": "#cfae7d", "k": "#1d1528", "p": "#f3a6a0"},
        """
        ............
        ............
        ........rrrr
        ......rrrrrw
        .....rrrrrww
        ....rrrrrrww
        ...rrwwrrrrw
        ...rwwwwrrrr
        ..rrwwwwrrrr
        ..rrrwwrrrrr
        ..rrrrrrrrww
        ..rrrrrrrrww
        ..RRrrrrrrrw
        ...RRRRRRRRR
        .....RRbbbbb
        .......bbbbb
        .......bbkbb
        .......bbkbb
        .......pbbbk
        .......bbbbb
        .......bbbbb
        .......Bbbbb
        ........BBBB
        ............
        """,
        ((17, 15, "B"), (16, 15, "B"), (16, 16, "B"), (16, 17, "B"), (16, 19, "B"), (16, 20, "B")),
    ),
    Sprite(
        "ghost",
        "a small white ghost that says boo",
        ("night blue background", "#33406f"),
        {"w": "#f7f7ff", "s": "#c7cdea", "k": "#1d1528", "p": "#f2a7c3", "m": "#6b3a5b"},
        """
        ............
        ............
        .........www
        .......wwwww
        ......wwwwww
        .....wwwwwww
        .....wwwwwww
        ....wwwwwwww
        ....wwwkkwww
        ....wwwkkwww
        ....wwwkkwww
        ....wwwkkwww
        ....wppwwwww
        ...wwppwwwmm
        ..wwwwwwwwmm
        ..wwwwwwwwwm
        ...wwwwwwwww
        ....wwwwwwww
        ....wwwwwwww
        ....wwwwwwww
        ....wwwwwwww
        ....ww.www.w
        .....w..w...
        ............
        """,
        (
            (18, 7, "s"), (19, 8, "s"), (19, 9, "s"), (19, 10, "s"), (19, 11, "s"), (19, 12, "s"), (19, 16, "s"),
            (19, 17, "s"), (19, 18, "s"), (19, 19, "s"), (18, 19, "s"), (19, 20, "s"), (18, 20, "s"), (18, 21, "s"),
            (18, 6, "s"), (17, 5, "s"), (18, 22, "s"), (8, 8, "w"), (16, 8, "w"),
        ),
    ),
    Sprite(
        "heart",
        "a shiny red heart container",
        ("cream background", "#f6e7c8"),
        {"r": "#e5304f", "R": "#ad1f45", "p": "#ff8fa0", "w": "#ffffff"},
        """
        ............
        ............
        ............
        .....rrrr...
        ....rrrrrr..
        ...rrrrrrrr.
        ..rrrrrrrrrr
        ..rrrrrrrrrr
        ..rrrrrrrrrr
        ..rrrrrrrrrr
        ..rrrrrrrrrr
        ..Rrrrrrrrrr
        ...Rrrrrrrrr
        ....Rrrrrrrr
        .....Rrrrrrr
        ......Rrrrrr
        .......Rrrrr
        ........Rrrr
        .........Rrr
        ..........Rr
        ...........R
        ............
        ............
        ............
        """,
        (
            (5, 6, "w"), (6, 5, "w"), (5, 7, "w"), (7, 5, "w"), (4, 8, "p"), (4, 9, "p"), (8, 5, "p"), (5, 8, "p"),
            (6, 6, "p"), (20, 10, "R"), (19, 11, "R"), (20, 11, "R"), (18, 12, "R"), (19, 12, "R"), (17, 13, "R"), (18, 13, "R"),
            (16, 14, "R"), (17, 14, "R"), (15, 15, "R"), (16, 15, "R"), (14, 16, "R"), (15, 16, "R"), (13, 17, "R"), (14, 17, "R"),
        ),
    ),
    Sprite(
        "key",
        "an old golden key with a heart shaped hole",
        ("teal background", "#4f9d9a"),
        {"g": "#f7cf52", "G": "#c9922e", "w": "#fff3b8"},
        """
        ........................
        ......wwwwwww...........
        .....wggggggggg.........
        ....wgggggggggGG........
        ....wgg..gg..ggG........
        ....wg........gG........
        ....wg........gG........
        ....wgg......ggG........
        ....wggg....gggG........
        .....gggg..gggG.........
        ......gggggggG..........
        .......gggggG...........
        ........wggG............
        ........wggG............
        ........wggG............
        ........wggG............
        ........wgggggg.........
        ........wgggggG.........
        ........wggG............
        ........wggggg..........
        ........wggggG..........
        ........wggG............
        .........GG.............
        ........................
        """,
    ),
    Sprite(
        "gem",
        "a brilliant cut turquoise gem",
        ("warm grey background", "#cbbfb6"),
        {"w": "#f2fffe", "l": "#9df0ea", "t": "#3fcfcf", "T": "#1f9bb0", "D": "#17708f"},
        """
        ............
        ............
        ............
        ......wwwwww
        .....wllwwww
        ....wlllltww
        ...wllllttlw
        ..wllllttlll
        ..tttttttttt
        ..TTtttTllll
        ...TTtttTlll
        ....TTtttlll
        .....TTttTll
        ......TTttll
        .......TTttl
        ........TTtl
        .........TTt
        ..........TT
        ...........T
        ............
        ............
        ............
        ............
        ............
        """,
        (
            (21, 9, "D"), (20, 9, "D"), (20, 10, "D"), (19, 10, "D"), (19, 11, "D"), (18, 11, "D"), (18, 12, "D"),
            (17, 12, "D"), (17, 13, "D"), (16, 13, "D"), (16, 14, "D"), (15, 14, "D"), (15, 15, "D"), (14, 15, "D"),
            (14, 16, "D"), (13, 16, "D"), (13, 17, "D"), (12, 17, "D"), (12, 18, "D"), (6, 5, "w"), (5, 6, "w"),
        ),
    ),
    Sprite(
        "cat",
        "a sitting ginger cat with green eyes",
        ("sky blue background", "#a9d3f0"),
        {"o": "#f0953f", "O": "#c46a24", "w": "#fff4e2", "k": "#1d1528", "g": "#7ddf64", "p": "#f7a1a8"},
        """
        ............
        .....o......
        ....ooo.....
        ....opoo....
        ....oppooooO
        ....oooooooO
        ....oooooooO
        ...ooooooooo
        ...oooggkooo
        ...OOoggkoow
        ...ooooooowp
        ...OOoooowww
        ....ooooowww
        .....ooooooo
        ......oooooo
        ......ooooww
        .....OOoowww
        .....oooowww
        .....OOoowww
        .....oooowww
        .....ooooooo
        .....ooooooo
        .....wwwooww
        ............
        """,
        (
            (19, 20, "o"), (20, 20, "o"), (20, 19, "o"), (21, 19, "o"), (21, 18, "O"), (21, 17, "o"), (20, 16, "O"), (21, 16, "o"),
            (20, 15, "w"), (19, 21, "o"), (11, 12, "k"), (12, 12, "k"),
        ),
    ),
    Sprite(
        "cactus",
        "a cactus with a pink flower in a clay pot",
        ("sand background", "#ecd9a0"),
        {"g": "#4fa84a", "G": "#2f7a3d", "l": "#8fd676", "p": "#f56fa1", "y": "#ffe066", "c": "#c8643c", "C": "#97432a"},
        """
        ........................
        ..........p.p...........
        .........ppypp..........
        ..........ppp...........
        .........lggGG..........
        ........lgggggG.........
        ........lglgggG...gg....
        ........lggglgG..lgGG...
        ...gg...lggggGG..lggG...
        ..lgGG..lglgggG..lggG...
        ..lggG..lggggGG..lggG...
        ..lggG..lggglgG.lgggG...
        ..lgggllllgggggggggG....
        ...lggggglgggGGgggG.....
        ....GGGGglggggG.........
        ........lggglgG.........
        ......cccccccccc........
        ......cccccccccC........
        ......CCCCCCCCCC........
        .......cccccccC.........
        .......cccccccC.........
        ........cccccC..........
        ........CCCCCC..........
        ........................
        """,
    ),
    Sprite(
        "frog",
        "a green frog with a tiny golden crown",
        ("pink background", "#f4c6d7"),
        {"g": "#62b85a", "G": "#3c8647", "l": "#a9e08c", "w": "#ffffff", "k": "#1d1528", "y": "#ffd84d", "Y": "#d39a2a", "r": "#e2505c"},
        """
        ............
        ........y..y
        ........yy.y
        ........yyyy
        ........YYYY
        ....gggggggg
        ...gwwwggggg
        ..ggwkkggggg
        ..ggwkkggggg
        ..gggwwggggg
        ..gggggggggg
        ..gggggggggg
        ..gGkggggggg
        ..ggGkkkkkkk
        ...gggllllll
        ....glllllll
        ...gglllllll
        ..ggggllllll
        ..gGggglllll
        ..gGggggllll
        .ggGGggGglll
        .ggggggGgggg
        .g.gg.g.gg.g
        ............
        """,
        ((11, 4, "r"), (12, 4, "r")),
    ),
    Sprite(
        "chest",
        "an open treasure chest full of gold coins",
        ("slate background", "#6f7c93"),
        {"b": "#a8652f", "B": "#74401f", "l": "#cf8d4a", "i": "#8e9aa8", "y": "#ffdf5a", "Y": "#e0a32e", "w": "#fffbe0"},
        """
        ............
        ............
        .....lllllll
        ...llbbbbbbb
        ..lbbbbbbbbb
        ..iibbbbbbbb
        ..iibbbbbbbb
        ..iiBBBBBBBB
        ..BBBBBBBBBB
        ..BBBBByyyBB
        ..BBByyyyyyy
        ..BByyYyyyYy
        ..iyyyyyYyyy
        ..iiiiiiiiii
        ..iilllllllY
        ..iibbbbbbYY
        ..iibbbbbbYB
        ..iiBBBBBBYY
        ..iibbbbbbbb
        ..iibbbbbbbb
        ..iiBBBBBBBB
        ..iiiiiiiiii
        ............
        ............
        """,
        ((8, 10, "w"), (15, 11, "w"), (6, 11, "w"), (12, 12, "w"), (17, 10, "Y"), (10, 9, "y"), (18, 12, "w")),
    ),
)
# fmt: on


def grid(sprite: Sprite) -> list[list[str]]:
    """The drawing as 24 rows of 24 letters."""
    half = SIZE // 2
    rows = [list(row + row[::-1]) if len(row) == half else list(row) for row in sprite.rows.split()]
    for column, row, letter in sprite.touches:
        rows[row][column] = letter
    wrong = [number for number, row in enumerate(rows) if len(row) != SIZE]
    if wrong or len(rows) != SIZE:
        raise ValueError(f"{sprite.name}: {len(rows)} rows, of the wrong width: {wrong}")
    return rows


def coloured(sprite: Sprite) -> list[list[str]]:
    """32x32 colours: the drawing with its outline, in the middle of its background."""
    rows, side = grid(sprite), SIZE + 2 * MARGIN
    canvas = [[sprite.background[1]] * side for _ in range(side)]
    filled = {(x, y) for y, row in enumerate(rows) for x, letter in enumerate(row) if letter != CLEAR}
    edge = {(x + dx, y + dy) for x, y in filled for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1))} - filled
    for x, y in edge:
        canvas[y + MARGIN][x + MARGIN] = OUTLINE
    for x, y in filled:
        canvas[y + MARGIN][x + MARGIN] = sprite.colours[rows[y][x]]
    return canvas


def png(colours: list[list[str]]) -> bytes:
    """The picture doubled, as an indexed PNG that is not compressed: the same bytes with every zlib."""
    palette = sorted({colour for row in colours for colour in row})
    lines = [
        bytes(palette.index(colour) for colour in row for _ in range(SCALE)) for row in colours for _ in range(SCALE)
    ]
    data = b"".join(b"\0" + line for line in lines)
    length = struct.pack("<HH", len(data), len(data) ^ 0xFFFF)
    stored = b"\x78\x01\x01" + length + data + struct.pack(">I", zlib.adler32(data))
    header = struct.pack(">IIBBBBB", len(lines[0]), len(lines), 8, 3, 0, 0, 0)
    colour_table = bytes.fromhex("".join(colour[1:] for colour in palette))
    chunks = ((b"IHDR", header), (b"PLTE", colour_table), (b"IDAT", stored), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def caption(sprite: Sprite, colours: list[list[str]]) -> str:
    """What the picture shows, and its five most frequent colours."""
    count = Counter(colour for row in colours for colour in row)
    common = sorted(count, key=lambda colour: (-count[colour], colour))[:5]
    name, colour = sprite.background
    return f"pixel art, 24x24, {sprite.words}, {name} ({colour}), palette: {', '.join(common)}, {CLOSING}\n"


def draw(folder: Path) -> None:
    """Write every picture and its caption into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for sprite in SPRITES:
        colours = coloured(sprite)
        (folder / f"{sprite.name}.png").write_bytes(png(colours))
        (folder / f"{sprite.name}.txt").write_text(caption(sprite, colours), encoding="utf-8")


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parent / "sprites")
