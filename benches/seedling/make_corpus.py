#!/usr/bin/env python3
"""The seedling's corpus: a grammar with a small state of the world.

Short stories, questions with answers and chats about the map, and some documents that say
everything twice. All words are our own; the same seed gives the same documents.

  python make_corpus.py --out data --bytes 30000000 --seed 7
writes train.jsonl and valid.jsonl, a document a line. Licence: CC0-1.0.
"""

import argparse
import hashlib
import json
import os
import random
import re

rnd = random.Random(0)
pick = lambda xs: xs[int(rnd.random() * len(xs))]
chance = lambda p: rnd.random() < p
# The share of documents that repeat themselves.
ECHOES = 0.08

# ------------------------------------------------------------------ lexicon
SHE = "Mila Lily Anna Ruby Nora Luna Ella Zoe Ivy Rosa Tess Mona Dora Kiki Wren Poppy Ada Juno Vee Hazel May June Olive Clara".split()
HE = "Tom Ben Max Sam Leo Finn Otto Hugo Milo Ned Jack Theo Rufus Gus Oscar Pip Bo Dex Kit Cy Basil Rory Toby Emil".split()
IT = "Dot Bit Echo Fig Nim Ori Quill Tock Zip Blip Twig Pebble Spark Moss Fern Button Pogo Tick".split()
SYL = "ba be bi bo da de do fa fi ga go ka ki ko la le li lo ma me mi mo na ne ni no pa pe po ra re ri ro sa se si so ta te ti to va ve vi wa we zu zo".split()
ANIMALS = "fox rabbit cat dog mouse owl duck frog bear hedgehog squirrel turtle goat pony bird bee snail lamb penguin beaver otter deer".split()
MAPKIND = [
    "agent",
    "head",
    "pixel",
    "token",
    "robot",
    "gardener",
    "lamp keeper",
    "bridge builder",
    "tile maker",
    "map walker",
]
PEOPLE = ["girl", "boy"]
ADJ = "little small young kind brave shy quiet clever cheerful curious gentle busy sleepy happy tiny friendly careful".split()
COL = "red blue green yellow orange purple pink white black brown silver golden grey".split()
OBJ = "ball kite hat key book bell cup box scarf drum boat basket coin feather shell ribbon button spoon lantern umbrella wheel stone flute rope brush blanket wagon whistle pencil mirror".split()
NUM = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split()
DIRS = ["north", "south", "east", "west"]
OPP = dict(north="south", south="north", east="west", west="east")
FOOD = [
    ("apple", "apples"),
    ("pear", "pears"),
    ("berry", "berries"),
    ("cake", "cakes"),
    ("cookie", "cookies"),
    ("plum", "plums"),
    ("carrot", "carrots"),
    ("nut", "nuts"),
    ("pancake", "pancakes"),
    ("muffin", "muffins"),
    ("peach", "peaches"),
    ("cherry", "cherries"),
    ("bun", "buns"),
]
DISH = [
    "warm soup",
    "fresh bread",
    "sweet honey",
    "hot tea",
    "cold milk",
    "cheese and bread",
    "berry pie",
    "apple juice",
    "sweet porridge",
]
PLACES = [
    ("garden", "in the garden"),
    ("old bridge", "on the old bridge"),
    ("river of tokens", "by the river of tokens"),
    ("tall tower", "in the tall tower"),
    ("first layer", "on the first layer"),
    ("second layer", "on the second layer"),
    ("top layer", "on the top layer"),
    ("pond", "by the pond"),
    ("little hill", "on the little hill"),
    ("square", "in the square"),
    ("tile yard", "in the tile yard"),
    ("pixel field", "in the pixel field"),
    ("forest", "in the forest"),
    ("meadow", "in the meadow"),
    ("well", "by the well"),
    ("library", "in the library"),
    ("market", "in the market"),
    ("mill", "at the mill"),
    ("cave", "in the cave"),
    ("beach", "on the beach"),
    ("orchard", "in the orchard"),
    ("stone stairs", "on the stone stairs"),
    ("lamp road", "on the lamp road"),
    ("workshop", "in the workshop"),
]
SPOTS = [
    "under the bench",
    "behind the big tree",
    "beside the well",
    "under the bridge",
    "between two tiles",
    "on the top step",
    "inside a hollow tree",
    "near the mill",
    "next to the gate",
    "in the tall grass",
    "behind a rock",
    "under a pile of leaves",
    "on the window shelf",
    "by the garden wall",
    "under a bush",
    "at the edge of the pond",
    "behind the lamp",
    "on a low branch",
    "next to the flower bed",
    "in the wet sand",
]
HOMES = [
    "in a small house by the river of tokens",
    "in the garden of the map",
    "on the second layer of the map",
    "under the old bridge",
    "near the tile yard",
    "in a warm nest above the pixel field",
    "at the end of the lamp road",
    "in a little room in the tall tower",
    "on the first layer, where it was quiet",
    "behind the mill",
    "in a round house on the hill",
    "at the edge of the forest",
    "next to the square",
    "on a green tile in the middle of the map",
    "beside the pond",
    "in the orchard",
]
FLOWERS = ["rose", "tulip", "daisy", "sunflower", "lily", "poppy", "bluebell"]
TILECOL = ["red", "blue", "green", "yellow", "white", "black", "orange", "purple"]


def an(w):
    return ("an " if w[0] in "aeiou" else "a ") + w


def cap(s):
    return s[0].upper() + s[1:]


def plural(w):
    return w + ("es" if w.endswith(("x", "sh", "ch", "s")) else "s")


def steps(n):
    return f"{NUM[n]} step" + ("" if n == 1 else "s")


def made_name():
    s = "".join(pick(SYL) for _ in range(2 if chance(0.7) else 3))
    return cap(s + (pick("nlsrxtk") if chance(0.35) else ""))


class Ch:
    def __init__(s, kind=None, name=None, avoid=()):
        s.kind = kind or (
            pick(ANIMALS) if chance(0.58) else pick(MAPKIND) if chance(0.72) else pick(PEOPLE)
        )
        while s.kind in [c.kind for c in avoid]:
            s.kind = pick(ANIMALS)
        g = "she" if s.kind == "girl" else "he" if s.kind == "boy" else pick(["she", "he", "it"])
        taken = [c.name for c in avoid]
        while True:
            s.name = name or (
                made_name() if chance(0.22) else pick({"she": SHE, "he": HE, "it": IT}[g])
            )
            if s.name not in taken:
                break
        s.he = g
        s.him = {"she": "her", "he": "him", "it": "it"}[g]
        s.his = {"she": "her", "he": "his", "it": "its"}[g]
        s.He, s.His = cap(s.he), cap(s.his)
        s.adj = pick(ADJ)
        s.col = (
            pick(COL)
            if chance(0.4) and s.kind not in PEOPLE and s.kind not in MAPKIND[5:]
            else None
        )
        s.desc = s.adj + " " + (s.col + " " if s.col else "") + s.kind
        s.a_desc = an(s.desc)
        s.a_kind = an(s.kind)
        s.the = "the " + s.kind
        s.The = "The " + s.kind


class Ob:
    def __init__(s, avoid=()):
        while True:
            s.col, s.noun = pick(COL), pick(OBJ)
            if s.noun not in [o.noun for o in avoid] and s.col not in [o.col for o in avoid]:
                break
        s.full = s.col + " " + s.noun
        s.a = an(s.full)
        s.the = "the " + s.full
        s.The = "The " + s.full

    def __str__(s):
        return s.noun


class Pl:
    def __init__(s, avoid=()):
        while True:
            s.noun, s.at = pick(PLACES)
            if s.noun not in [p.noun for p in avoid]:
                break
        s.the = "the " + s.noun
        s.At = cap(s.at)


# ---------------------------------------------------------------- templates
# {x} are filled from the story state, [a|b] is a free choice.
T = {}


def D(key, text):
    T[key] = [l.strip() for l in text.strip().split("\n") if l.strip()]


D(
    "open",
    """
Once upon a time there was {a.a_desc} named {a.name}.
Once upon a time, there was {a.a_desc} named {a.name}.
Once upon a time, there was {a.a_desc} called {a.name} who lived {home}.
Once upon a time {a.a_desc} named {a.name} lived {home}.
Once upon a time, {home}, there lived {a.a_desc} named {a.name}.
Once upon a time, on the map, there was {a.a_desc}. {a.His} name was {a.name}.
Once upon a time, {a.name} the {a.kind} lived {home}. {a.name} was {a.adj} and [kind|good|full of ideas].
One day, {a.a_desc} named {a.name} woke up early {home}.
There was once {a.a_desc} named {a.name}, who lived {home}.
On a small map made of pixels there lived {a.a_desc} named {a.name}.
Long ago, when the map was new, {a.a_desc} named {a.name} lived {home}.
{a.name} was {a.a_desc}. {a.He} lived {home}.
This is a story about {a.name}, {a.a_desc} who lived {home}.
In a land of tiles and lamps there was {a.a_desc} named {a.name}.
""",
)
D(
    "friend",
    """
{a.name} had a good friend, {b.a_desc} named {b.name}.
{a.His} best friend was {b.a_desc} named {b.name}.
Next door lived {b.name}, {b.a_desc}.
{a.name} often played with {b.name}, {b.a_desc}.
{a.name} and {b.name} the {b.kind} were good friends.
Not far away lived {b.a_desc} named {b.name}, and the two were friends.
""",
)
D(
    "likes",
    """
{a.name} liked to [play|walk|sing|sit] {p.at} [every day|in the morning|in the evening|when it was warm].
Every morning {a.he} [walked|ran|went] to {p.the} to [play|look at the sky|count the tiles|say hello to the lamps].
{a.He} liked {food} and [long walks|funny songs|quiet days|bright lamps].
{a.name} loved to look at the [little lights|bright pixels|slow clouds|tall lamps] {p.at}.
Most of all, {a.name} liked to [help others|learn new things|make friends|ask questions].
{a.He} was never too busy to [help a friend|say good morning|listen to a song].
""",
)
D(
    "weather",
    """
It was a [bright|warm|lovely] sunny day, and the [birds sang|pixels were shining|flowers were open].
It was a rainy morning. [Drops fell on every tile.|The tiles were wet and shiny.|The river was loud.]
The wind was [strong|wild|cold] that day, and the [leaves danced|lamps were swinging|clouds ran fast].
Snow fell on the map all night, and in the morning every tile was white.
A soft fog lay over the map, and it was hard to see the [bridge|lamps|next tile].
The sky was blue and the sun was warm.
The clouds were grey, but it did not rain.
That evening the stars came out one by one.
It was a quiet day, and the lamps were [glowing|bright|warm].
""",
)
D(
    "sad",
    """
{a.name} was very sad. [A tear ran down {a.his} face.|{a.He} sat down and did not know what to do.|{a.He} did not want to play.]
{a.name} felt [sad and alone|very sad|worried].
"Oh no!" said {a.name}. "[What will I do now?|This is a bad day.|I need help.]"
{a.name} [sat down|lay down] on a tile and [cried a little|thought for a long time|looked at the ground].
""",
)
D(
    "happy",
    """
{a.name} was very happy. {a.He} [danced|jumped|laughed|sang] all the way home.
{a.name} smiled a big smile.
"[Thank you|Hooray|This is wonderful]!" said {a.name}. "[I am so happy!|What a good day!|Now all is well.]"
{a.name} and {b.name} [laughed together|jumped for joy|danced in a circle|were happy].
{a.name} felt [warm and happy inside|very proud|glad and light].
""",
)
D(
    "ending",
    """
From that day on, {a.name} and {b.name} were the best of friends.
And {a.name} never forgot that day.
They went home together, and the lamps were glowing on the road.
{a.name} and {b.name} ate {food} and told the story to everyone on the map.
That night {a.name} slept well and dreamed of [stars|bright pixels|the river of tokens|a garden full of lamps].
After that, {a.name} always remembered to [be kind|ask for help|share|look twice].
The end.
And so the day ended well for {a.name} and {b.name}.
And all the lamps on the map shone a little brighter.
They all lived happily on the map. The end.
""",
)
D(
    "moral",
    """
{a.name} learned that [a friend is better than a treasure|it is good to ask for help|small steps can go a long way|being kind makes everyone happy].
{a.He} learned that [if you look back, you can find what you need|two are stronger than one|it is fine to make a mistake|sharing makes things better].
And that is why {a.name} still says, "[Look back before you go on|One step at a time|A friend in need is a friend indeed|Be kind and the map will be kind]."
""",
)
# ---- lost and found
D(
    "has",
    """
{a.name} had {o.a} that {a.he} loved very much.
{a.name} had {o.a}. It was {a.his} favourite thing in the world.
For {a.his} birthday, {a.name} got {o.a}.
{a.name} always carried {o.a}.
One day {a.name} found {o.a} {p.at}, and no one knew whose it was, so {a.he} kept it.
""",
)
D(
    "lose",
    """
One day, {o.the} was gone. {a.name} looked [high and low|everywhere|in every room], but {a.he} could not find it.
But one morning {a.name} could not find {o.the}. [It was not under the bed.|It was not on the table.|It was not at the door.]
Then the wind came and took {o.the} away.
One day {a.name} went to {p.the} and came back without {o.the}. It was lost.
When {a.name} woke up, {o.the} was not there.
""",
)
D(
    "ask",
    """
{a.name} went to {b.name}. "Have you seen my {o.full}?" {a.he} asked.
{a.name} asked {b.name}, "Did you see {o.a}?"
"Please help me," said {a.name} to {b.name}. "I lost my {o.full}."
{a.name} met {b.name} {p2.at}. "I am looking for my {o.full}," said {a.name}.
""",
)
D(
    "saw",
    """
"Yes," said {b.name}. "I saw {o.a} {spot}. [Come with me!|Let us go and look.|Follow me.]"
{b.name} thought for a while. "I think I saw it {spot}," {b.he} said.
"Do not be sad," said {b.name}. "Something {o.col} is lying {spot}. [Maybe it is your {o.noun}.|Let us go and see.]"
{b.name} closed {b.his} eyes and looked back at the day. "There was {o.a} {spot}," said {b.name}.
""",
)
D(
    "found",
    """
They went to look, and there it was. {o.The} was {spot}!
They walked together, and soon {a.name} saw {o.the} {spot}.
And yes, {o.the} was {spot}, just as {b.name} had said.
{a.name} ran fast. {spot_cap} {a.he} found {o.the}.
""",
)
D(
    "thanks",
    """
"Thank you, {b.name}!" said {a.name}. "You are a good friend."
"Thank you," said {a.name}. {b.name} smiled. "[You are welcome|It was nothing|I am glad to help]," {b.he} said.
{a.name} gave {b.name} a big hug.
"I could not do it without you, {b.name}," said {a.name}.
{a.name} thanked {b.name} and [shared some {food}|shared {a.his} {food}] with {b.him}.
""",
)
# ---- food and counting
D(
    "food_start",
    """
One morning {a.name} picked {n1} {f} {p.at}.
{a.name} had {n1} {f} in a basket.
{a.name} went to {p.the} and found {n1} {f}.
"Look, I have {n1} {f}," said {a.name}.
""",
)
D(
    "food_meet",
    """
On the way home {a.he} met {b.name}. {b.name} was [very hungry|hungry and tired|cold and hungry].
{b.name} came by. "I am so hungry," {b.he} said. "I have nothing to eat."
Then {a.name} saw {b.name} {p2.at}. {b.name} looked [sad|tired|hungry] and had no food.
""",
)
D(
    "food_give",
    """
{a.name} gave {b.name} {n2} of the {f}. Now {a.name} had {n3} {f3}, and {b.name} had {n2}.
"Here, take {n2} {f2}," said {a.name}. So {b.name} had {n2}, and {a.name} had {n3} left.
{a.name} counted the {f}. "I have {n1}. I can give you {n2}, and I will have {n3} left," {a.he} said.
"{n1_cap} is a lot for me," said {a.name}. {a.He} gave {n2} to {b.name} and kept {n3}.
""",
)
D(
    "food_end",
    """
They sat down {p2.at} and ate. [It was very good.|The {f} were sweet.|They laughed a lot.]
{b.name} ate and felt [much better|warm again|strong again]. "[You are so kind|Thank you for sharing]," said {b.name}.
The next day {b.name} came back with {dish} for {a.name}, because {a.name} had been kind.
""",
)
# ---- coach and tasks
D(
    "coach_in",
    """
{p.At} sat the coach. The coach gave out tasks to all the agents of the map.
Every morning the coach handed out tasks {p.at}.
The coach of the map had a list of tasks. "Who wants to help today?" asked the coach.
One day the coach rang a bell and said, "I have a task for someone [brave|careful|kind|quick]."
""",
)
D(
    "task_fetch",
    """
"{a.name}," said the coach, "please bring {o.the} from {p2.the} to {p3.the}."
"Your task is this," said the coach to {a.name}. "Find {o.the} {p2.at} and take it to {p3.the}."
The coach gave {a.name} a task: take {o.the} from {p2.the} and carry it to {p3.the}.
""",
)
D(
    "task_go",
    """
{a.name} said, "[Yes, coach!|I will do my best.|I can do that.]" and went to {p2.the}.
{a.name} thought about each step. First {a.he} had to go to {p2.the}. Then {a.he} had to go to {p3.the}.
{a.name} walked to {p2.the} [with quick feet|step by step|over the old bridge]. There was {o.the}, just as the coach had said.
"First {p2.the}, then {p3.the}," said {a.name}, so that {a.he} would not forget.
""",
)
D(
    "task_prob",
    """
But {o.the} was too heavy for one. So {a.name} asked {b.name} to help.
On the way it began to rain, and {a.name} could not see the road. {b.name} came with an umbrella.
Halfway there {a.name} forgot where to go. "{p3_cap}," said {b.name}. "The coach said {p3.the}."
But a gate was closed on the road. {b.name} had the key and opened the gate.
""",
)
D(
    "task_done",
    """
At last {a.name} put {o.the} down {p3.at}. The task was done.
Together they took {o.the} to {p3.the}, and the task was done.
{a.name} came to {p3.the} and put {o.the} in its place.
""",
)
D(
    "task_praise",
    """
"Well done, {a.name}!" said the coach. "[You did every step.|You did not give up.|You asked for help, and that is wise.]"
The coach smiled and gave {a.name} a [golden|silver|bright] star.
"Good work," said the coach. "Tomorrow there will be a new task."
The coach wrote in the big book: {a.name} took {o.the} to {p3.the}.
""",
)
# ---- lamp
D(
    "lamp_out",
    """
One night the {c} lamp {p.at} went out. Everything was dark.
There was a {c} lamp {p.at}. One evening it did not shine.
The {c} lamp {p.at} gave light to everyone. But one night it went dark.
""",
)
D(
    "lamp_why",
    """
{a.name} looked inside. The lamp had no oil, so it could not burn.
"Why is it dark?" asked {b.name}. "Because the [wire is loose|glass is full of dust|wind blew it out]," said {a.name}.
A [bird|leaf|small stone] was stuck in the lamp, so the light could not get out.
The lamp was cold, because the wind had blown out the flame.
""",
)
D(
    "lamp_dark",
    """
Because it was dark, no one could find the way [home|to the bridge|to the garden].
The tokens in the river could not see where to go, so they stopped.
The flowers closed, and the [birds|bees|agents] went to sleep too early.
{b.name} was afraid of the dark.
""",
)
D(
    "lamp_fix",
    """
{a.name} climbed up with {o.a} and fixed the lamp. Slowly the {c} light came back.
{a.name} and {b.name} cleaned the lamp, and it shone {c} again.
{b.name} held the ladder, and {a.name} lit the lamp. "Light!" everyone called.
{a.name} asked the lamp keeper for help. The lamp keeper lit the {c} lamp again.
""",
)
D(
    "lamp_end",
    """
Now everyone could see the {c} light {p.at} and find the way home.
The tokens moved again, and the river was full of little {c} lights.
"I am not afraid any more," said {b.name}, looking at the {c} lamp.
""",
)
# ---- bridge
D(
    "bridge_break",
    """
It rained for {n1} days. The river of tokens rose higher and higher and broke the bridge.
One night the river was so strong that the old bridge broke.
{n2_cap} tiles fell out of the bridge, and no one could cross the river.
""",
)
D(
    "bridge_need",
    """
{a.name} lived on one side, and {b.name} lived on the other side. They could not meet.
"How will I visit {b.name} now?" asked {a.name}.
{a.name} needed {n2} tiles to make the bridge whole again.
""",
)
D(
    "bridge_build",
    """
{a.name} took {n2} {tc} tiles from the tile yard and laid them one by one. {count}
{a.name} carried {tc} tiles to the river. {count} Then the bridge was whole.
{a.name} began on one side, and {b.name} began on the other. They used {n2} {tc} tiles and met in the middle.
""",
)
D(
    "bridge_end",
    """
{b.name} walked over the {tc} tiles to meet {a.name}.
Now the bridge was strong, and everyone on the map could cross the river.
They stood on the new {tc} bridge and watched the tokens float by.
""",
)
# ---- directions
D(
    "dir_intro",
    """
{a.name} had a paper map. It said: "{fact}"
A sign by the {tc} tile said: "{fact}"
"Where is the {t}?" asked {a.name}. {b.name} said, "{fact}"
The coach told {a.name}, "{fact} Go and find it."
""",
)
D(
    "dir_walk",
    """
{a.name} went to the {tc} tile. Then {a.he} walked {n1} {d1}. {count}
So {a.name} stood on the {tc} tile, turned {dd}, and counted {a.his} steps. {count}
{a.name} started at the {tc} tile and went {dd}. {count}
""",
)
D(
    "dir_found",
    """
And there was the {t}, {n1} {d1} of the {tc} tile.
There it was! The {t} stood {n1} {d1} of the {tc} tile.
"I found the {t}!" called {a.name}. "It is {n1} {d1} of the {tc} tile."
""",
)
D(
    "dir_back",
    """
To go home, {a.name} walked {n1} {d2} and was back at the {tc} tile.
"How do I get back?" asked {a.name}. "Turn around," said {b.name}. "Go {n1} {d2}."
Then {a.name} turned around and walked {n1} {d2}, back to the {tc} tile.
""",
)
# ---- new friend
D(
    "nf_lone",
    """
{a.name} had no friends {p.at}, and {a.he} often felt alone.
{a.name} was new on the map and did not know anyone.
{a.name} wanted to play, but no one was there.
""",
)
D(
    "nf_meet",
    """
One day {a.name} met {b.a_desc} {p.at}. "Hello, I am {b.name}," said {b.the}. "What is your name?"
Then {b.a_desc} came along. "My name is {b.name}," {b.he} said. "Who are you?"
{p.At} {a.name} saw {b.a_desc} with {o.a}. "Hello," said {a.name}. "Hello," said {b.the}. "I am {b.name}."
""",
)
D(
    "nf_reply",
    """
"I am {a.name}," said {a.the}. "Do you want to play with me?"
"My name is {a.name}," said {a.the} in a small voice.
"I am {a.name}, and I have no one to play with," said {a.the}.
""",
)
D(
    "nf_play",
    """
{b.name} had {o.a}. They played with {o.the} until the sun went down.
They [ran|hopped|walked] to {p2.the} and played with {b.name}'s {o.full}.
"Look, I have {o.a}," said {b.name}. "We can share it." So they played together.
""",
)
# ---- garden
D(
    "seed_plant",
    """
One spring day {a.name} planted {n1} {fl} seeds {p.at}.
{a.name} had {n1} small seeds. {a.He} put them in the ground {p.at}.
The coach gave {a.name} {n1} {fl} seeds. {a.name} planted them {p.at}.
""",
)
D(
    "seed_wait",
    """
{a.name} waited one day. {a.name} waited two days. Nothing came up.
Every day {a.name} looked at the ground, but it was still bare.
"Why do they not grow?" asked {a.name}.
""",
)
D(
    "seed_help",
    """
"They need water," said {b.name}. So {a.name} gave them water every morning.
"Seeds need water and light," said {b.name}. They put a lamp next to the seeds and gave them water.
It had not rained for days, so the ground was dry. {a.name} and {b.name} brought water from the river.
"You must wait," said {b.name}. "Seeds are slow. Give them water and time."
""",
)
D(
    "seed_grow",
    """
After a week {n1} green leaves came up. Then {n1} {c} {fls} opened in the sun.
Soon there were {n1} {c} {fls} {p.at}.
Then the rain came, the sun came, and {n1} {c} {fls} grew tall.
""",
)
# ---- heads and attention
D(
    "head_in",
    """
In the tall tower of the map there were many heads. Each head could look back along the road.
{a.name} worked with a head on the second layer. The head had one job: to look back and find the same word again.
A head is a small worker on a layer. It looks back and carries what it finds to the front.
""",
)
D(
    "head_prob",
    """
One day a line of tokens came in: "{w1} {w2} ... {w1}". "What comes next?" asked the coach.
The coach showed {a.name} a line of tiles: {s1}, {s2}, {s3}, {s1}. "Which tile comes next?" asked the coach.
{b.name} laid down a row of tiles: {s1}, {s2}, {s3}, {s1}, {s2}. "What is the next tile?" {b.he} asked.
""",
)
# ---- token river
D(
    "riv_in",
    """
A small token named {tk} fell into the river of tokens.
In the river of tokens there was a token named {tk}.
The river of tokens ran past the house, and in it swam a token called {tk}.
""",
)
D(
    "riv_l1",
    """
On the first layer, {tk} met a head with {o1.a}. The head gave {o1.the} to {tk}.
At the first layer {tk} got {o1.a}.
The first layer was [bright|wide|quiet]. There {tk} found {o1.a} and took it along.
""",
)
D(
    "riv_l2",
    """
On the second layer, {tk} got {o2.a}. Now {tk} had {o1.the} and {o2.the}.
At the second layer a kind {k} gave {tk} {o2.a}.
Then the river climbed to the second layer, and {tk} found {o2.a}.
""",
)
D(
    "riv_top",
    """
At the top layer the coach asked, "What do you bring?" "{o1_cap} and {o2.a}," said {tk}.
On the top layer {tk} showed what it had: {o1.a} from the first layer and {o2.a} from the second layer.
When {tk} came to the top, it had {o1.a} and {o2.a}. "Now I know who I am," said {tk}.
""",
)
D(
    "riv_end",
    """
Then {tk} became a word, and the word was said out loud on the map.
And {a.name}, who was watching from the bridge, waved to {tk}.
{a.name} wrote it down: first {o1.the}, then {o2.the}.
""",
)
# ---- storm
D(
    "storm_in",
    """
In the afternoon the sky turned dark. The wind blew, and thunder rolled over the map.
All at once a big storm came. Rain fell on the tiles and the lamps were swinging.
{a.name} was {p.at} when the storm began.
""",
)
D(
    "storm_fear",
    """
{a.name} was afraid. "The thunder is so loud," {a.he} said.
{a.name} [hid|sat shaking] {spot}, wet and cold.
{a.name} ran as fast as {a.he} could, but {a.he} did not know where to go.
""",
)
D(
    "storm_help",
    """
{b.name} opened {b.his} door. "Come in, {a.name}," {b.he} said. "It is warm here." {b.name} gave {a.name} {dish}.
Then {b.name} came with {o.a}. "Come under my {o.noun2} and we will go home together," said {b.name}.
{b.name} took {a.name} by the hand. "Count with me," {b.he} said. "One, two, three. You see, the thunder is going away."
""",
)
D(
    "storm_end",
    """
Soon the rain stopped. A rainbow stood over the map, red, orange, yellow, green and blue.
When the storm was over, they went out and [jumped in the puddles|looked at the clean tiles|saw a rainbow].
After the storm the air was fresh, and every pixel was shining.
""",
)
# ---- race
D(
    "race_in",
    """
One day there was a race from {p.the} to {p2.the}. {a.name} and {b.name} wanted to run.
"I am faster than you," said {b.name} to {a.name}. "Let us race from {p.the} to {p2.the}."
The coach said, "Who can go from {p.the} to {p2.the} first?" {a.name} and {b.name} stood at the line.
""",
)
D(
    "race_mid",
    """
{b.name} ran very fast, but then {b.he} stopped to [sleep|eat {food}|look at {o.a}]. {a.name} was slow, but {a.he} did not stop.
{b.name} was ahead. But {b.name} took the wrong road, because {b.he} did not read the sign. {a.name} read the sign and went on.
{b.name} fell over a stone and hurt {b.his} foot. {a.name} stopped and helped {b.him} up.
""",
)
D(
    "race_end1",
    """
{a.name} came to {p2.the} first and won the race. {b.name} came second.
So {a.name} won the race, and {b.name} was second.
""",
)
D(
    "race_end2",
    """
They walked to {p2.the} side by side, and both of them won.
Together they came to {p2.the}, and the coach gave each of them a star.
""",
)
# ---- gift
D(
    "gift_in",
    """
It was {b.name}'s birthday. {a.name} wanted to give {b.him} something nice.
"Tomorrow is {b.name}'s birthday," thought {a.name}. "What can I give {b.him}?"
{b.name} had a birthday, and {a.name} had no gift yet.
""",
)
D(
    "gift_make",
    """
{a.name} knew that {b.name} liked the colour {o.col}. So {a.he} made {o.a}.
{a.name} went to the market and found {o.a}. "{b.name} will like this," {a.he} said.
{a.name} worked all night in the workshop. In the morning {o.the} was ready.
""",
)
D(
    "gift_give",
    """
{a.name} put {o.the} in a {c} box and gave it to {b.name}. {b.name} opened the {c} box. "{o_cap}!" {b.he} said. "I love it."
"This is for you," said {a.name} and gave {b.name} {o.the}. {b.name} was so happy that {b.he} [danced|sang a song|laughed].
There was a party {p.at} with cake and music. {a.name} gave {b.name} {o.the}, and everyone clapped.
""",
)
# ---- picture of pixels
D(
    "pix_in",
    """
In the pixel field the pixels stood in rows. Together they made a picture of {k}.
The pixels wanted to make a picture of {k}. Every pixel had a place and a colour.
{a.name} helped the pixels make a big picture of {k}.
""",
)
D(
    "pix_wrong",
    """
But one pixel was {c2}. It should have been {c1}. So {k_the} looked strange.
One pixel in the middle was {c2} and not {c1}, and everyone could see it.
"Something is wrong," said {b.name}. "That pixel is {c2}, but it must be {c1}."
""",
)
D(
    "pix_talk",
    """
The pixel was sad. "I want to be {c1}," it said, "but I do not know how."
{a.name} asked the pixel, "Why are you {c2}?" "I did not hear what the others said," said the pixel.
"Look at your neighbours," said {a.name} to the pixel. "They are {c1}. You can be {c1} too."
""",
)
D(
    "pix_fix",
    """
The pixel looked left and right, and then it turned from {c2} to {c1}.
{b.name} brought a brush and some {c1} paint. Soon the pixel was {c1}.
The pixel took a deep breath and changed its colour to {c1}.
""",
)
D(
    "pix_end",
    """
Now the picture was right, and everyone could see {k}.
"Now I see {k}!" said {b.name}.
One small pixel had made the whole picture better.
""",
)
# ---- bedtime
D(
    "bed_in",
    """
It was late, but {a.name} could not sleep.
The moon was up, and {a.name} lay in bed with open eyes.
"I am not tired," said {a.name}, but it was very late.
""",
)
D(
    "bed_try",
    """
{a.name} counted {things}. {count} But {a.he} was still awake.
{a.name} asked {b.name} for {dish}. {b.name} brought it, and it was good, but {a.name} was still awake.
{a.name} held {a.his} {o.full} and listened to the river of tokens.
""",
)
D(
    "bed_help",
    """
{b.name} sat on the bed and sang a soft song about the lamps of the map.
{b.name} told {a.name} a story about {k} with {o2.a}.
"Close your eyes and think of {p.the}," said {b.name}. "Think of each tile, one by one."
""",
)
D(
    "bed_end",
    """
Soon {a.name} was asleep. {b.name} put out the lamp and closed the door. "Good night, {a.name}."
{a.name} closed {a.his} eyes, and soon {a.he} was asleep. The lamps of the map glowed all night.
"Good night, {b.name}," said {a.name}, and then {a.he} slept until morning.
""",
)
# ---- stuck
D(
    "stuck_in",
    """
{a.name} was playing with {o.a} {p.at}. Then {o.the} flew up and got stuck in a tree.
{a.name} threw {o.the} too high, and it got stuck on the roof of the tower.
The wind took {a.name}'s {o.full} and put it on top of a tall lamp.
""",
)
D(
    "stuck_try",
    """
{a.name} jumped, but {a.he} was too small. {a.He} jumped again, but it was too high.
{a.name} tried with a stick, but the stick was too short.
{a.name} tried to climb up, but {a.he} slipped and fell down.
""",
)
D(
    "stuck_help",
    """
{b.name} saw it. "I have a long {ladder}," {b.he} said. They used the {ladder} to get {o.the} down.
Then {b.name} came. "Stand on my back," said {b.name}. {a.name} stood on {b.name}'s back and reached {o.the}.
"Let me help," said {b.name}. {b.He} shook and shook until {o.the} fell down.
""",
)
# ---- mistake
D(
    "mis_in",
    """
{b.name} had {o.a}. One day {a.name} played with it, and it broke.
{a.name} took {b.name}'s {o.full} without asking. Then {a.he} dropped it, and it broke.
{a.name} was running too fast and fell on {b.name}'s {o.full}. Crack! It was broken.
""",
)
D(
    "mis_hide",
    """
{a.name} was afraid. {a.He} hid {o.the} {spot} and said nothing.
"If I tell {b.name}, {b.he} will be angry," thought {a.name}. So {a.he} hid {o.the} {spot}.
""",
)
D(
    "mis_ask",
    """
"Where is my {o.full}?" asked {b.name}. {a.name} looked at the ground.
Later {b.name} came. "I can not find my {o.full}," {b.he} said. "Do you know where it is?"
""",
)
D(
    "mis_tell",
    """
"I am sorry," said {a.name}. "I broke it. It is {spot}."
{a.name} took a deep breath and told the truth. "I broke your {o.full}, and I hid it {spot}. I am sorry."
""",
)
D(
    "mis_end",
    """
{b.name} was sad for a moment. Then {b.he} said, "Thank you for telling me. We can fix it." And they fixed {o.the} together.
"It is only {o.a}," said {b.name}. "You told the truth, and that is better than a {o.noun}."
{a.name} worked all day to fix {o.the}. In the evening it was as good as new, and {b.name} was not angry any more.
""",
)
# ---- cold
D(
    "cold_in",
    """
Winter came to the map. {b.name} was cold, because {b.he} had no {w}.
It was very cold, and {b.name} had no {w} to keep {b.him} warm.
""",
)
D(
    "cold_make",
    """
{a.name} had a lot of {c} wool. So {a.he} made a {c} {w} for {b.name}.
{a.name} asked the coach for wool. The coach had only {c} wool. So {a.name} made a {c} {w}.
"I will make {b.him} a {w}," said {a.name}. {a.He} made it from {c} wool, and it took {n1} days.
""",
)
D(
    "cold_end",
    """
{b.name} put on the {c} {w} and was warm at once. "{w_cap} and friend, both keep me warm," said {b.name}.
Now {b.name} wears the {c} {w} every day when it snows.
"How warm it is!" said {b.name}. All winter long {b.he} wore the {c} {w}.
""",
)
# ---- letter
D(
    "let_in",
    """
One day {a.name} got a letter for {b.name}. But {b.name} lived far away, {p3.at}.
The coach gave {a.name} a {c} letter. "Take it to {b.name} {p3.at}," said the coach.
{a.name} wrote a {c} letter to {b.name}, who lived {p3.at}.
""",
)
D(
    "let_way",
    """
First {a.name} went to {p.the}. Then {a.he} went to {p2.the}. At last {a.he} came to {p3.the}.
{a.name} walked past {p.the}. {a.He} walked past {p2.the}. Then {a.he} saw {p3.the}.
The way was long: {p.the}, then {p2.the}, then {p3.the}.
""",
)
D(
    "let_read",
    """
{b.name} opened the letter and read it out loud: "{msg}"
"A letter for me?" said {b.name}. In the letter it said, "{msg}"
{b.name} read the letter. It said, "{msg}" {b.name} read it again and smiled.
""",
)
# ---- trade
D(
    "tr_in",
    """
{a.name} had {o1.a}, but {a.he} wanted {o2.a}. {b.name} had {o2.a}, but {b.he} wanted {o1.a}.
At the market {a.name} had {o1.a}, and {b.name} had {o2.a}.
""",
)
D(
    "tr_do",
    """
"Shall we swap?" asked {a.name}. "Yes," said {b.name}. So {a.name} gave {o1.the} to {b.name}, and {b.name} gave {o2.the} to {a.name}.
"I will give you {o1.the} if you give me {o2.the}," said {a.name}. "That is fair," said {b.name}, and they swapped.
""",
)
D(
    "tr_end",
    """
Now {a.name} had {o2.the}, and {b.name} had {o1.the}. Both were happy.
{a.name} went home with {o2.the}. {b.name} went home with {o1.the}.
""",
)
# ---- coloured path
D(
    "path_in",
    """
{a.name} was lost in the fog {p.at}. {a.He} could not see the way to {p2.the}.
{a.name} wanted to go to {p2.the}, but there were {n} roads, and each road had lamps of one colour.
""",
)
D(
    "path_tell",
    """
{b.name} said, "Follow the {c1} lamps. Do not follow the {c2} lamps. The {c1} lamps go to {p2.the}, and the {c2} lamps go to {p3.the}."
"The {c1} lamps lead to {p2.the}," said {b.name}. "The {c2} lamps lead to {p3.the}."
""",
)
D(
    "path_go",
    """
So {a.name} followed the {c1} lamps, one after the other, and came to {p2.the}.
{a.name} saw a {c2} lamp, but {a.he} did not go there. {a.He} looked for {c1} lamps and walked on. Soon {a.he} was at {p2.the}.
{a.name} said "{c1}, {c1}, {c1}" at each step, and the {c1} lamps led {a.him} to {p2.the}.
""",
)
# ---- song
D(
    "song_in",
    """
{a.name} wanted to make music, but {a.he} could not play alone.
The coach said, "Tonight there will be a song {p.at}. Who will play?"
""",
)
D(
    "song_who",
    """
{a.name} played {o1.the}. {b.name} played {o2.the}. {c.name} the {c.kind} sang.
"{a.name} can play {o1.the}," said the coach. "{b.name} can play {o2.the}. And {c.name} can sing."
""",
)
D(
    "song_prob",
    """
At first it was only noise, because everyone played at once. Then {a.name} said, "Let us listen to each other."
At first {b.name} was too loud, and {c.name} was too quiet. They tried again and again.
""",
)
D(
    "song_end",
    """
Then the song was beautiful. Even the tokens in the river stopped to listen.
All the animals came to hear it, and they clapped until the stars came out.
{a.name} on {o1.the}, {b.name} on {o2.the} and {c.name} with a clear voice: it was the best song on the map.
""",
)


def R(key, ctx):
    t = pick(T[key])
    while True:
        m = re.search(r"\[([^\[\]]*)\]", t)
        if not m:
            break
        t = t[: m.start()] + pick(m.group(1).split("|")) + t[m.end() :]
    return t.format(**ctx)


def count_to(n):
    return cap(", ".join(NUM[1 : n + 1])) + pick([".", "!"])


# -------------------------------------------------------------------- plots
# Each returns (paragraphs, [(question, answer)...]).
def base(a=None):
    a = a or Ch()
    b = Ch(avoid=[a])
    p = Pl()
    p2 = Pl([p])
    p3 = Pl([p, p2])
    o = Ob()
    spot = pick(SPOTS)
    return dict(
        a=a,
        b=b,
        p=p,
        p2=p2,
        p3=p3,
        o=o,
        spot=spot,
        spot_cap=cap(spot),
        home=pick(HOMES),
        food=pick(FOOD)[1],
        dish=pick(DISH),
        c=pick(COL),
    )


def intro(x, friend=True):
    s = [R("open", x)]
    if chance(0.45):
        s.append(R("likes", dict(x, p=Pl())))
    if friend:
        s.append(R("friend", x))
    return s


def outro(x):
    s = []
    if chance(0.35):
        s.append(R("happy", x))
    if chance(0.25):
        s.append(R("moral", x))
    if chance(0.8):
        s.append(R("ending", x))
    return s


def W(x):
    return [R("weather", x)] if chance(0.35) else []


def kindq(*cs):
    return [(f"Who is {c.name}?", f"{c.name} is {c.a_desc}.") for c in cs] + [
        (f"What kind of creature is {c.name}?", f"{c.name} is {c.a_kind}.")
        for c in cs
        if c.kind not in PEOPLE
    ]


def s_lost(x):
    a, b, o = x["a"], x["b"], x["o"]
    P = [
        intro(x) + [R("has", x)],
        W(x) + [R("lose", x)] + ([R("sad", x)] if chance(0.6) else []),
        [R("ask", x), R("saw", x), R("found", x), R("thanks", x)],
        outro(x),
    ]
    qa = kindq(a, b) + [
        (f"What did {a.name} lose?", f"{a.name} lost {o.the}."),
        (f"Where was {o.the}?", f"{o.The} was {x['spot']}."),
        (f"Where did they find {o.the}?", f"They found it {x['spot']}."),
        (f"What colour was the {o.noun}?", f"The {o.noun} was {o.col}."),
        (f"Who helped {a.name}?", f"{b.name} the {b.kind} helped {a.name}."),
        (f"Whose {o.noun} was it?", f"It was {a.name}'s {o.noun}."),
    ]
    return P, qa


def s_food(x):
    a, b = x["a"], x["b"]
    f1, f = pick(FOOD)
    n1 = rnd.randint(3, 10)
    n2 = rnd.randint(1, n1 - 1)
    n3 = n1 - n2
    x.update(
        f=f,
        f2=f1 if n2 == 1 else f,
        f3=f1 if n3 == 1 else f,
        n1=NUM[n1],
        n2=NUM[n2],
        n3=NUM[n3],
        n1_cap=cap(NUM[n1]),
        food=f,
    )
    P = [
        intro(x),
        W(x) + [R("food_start", x), R("food_meet", x)],
        [R("food_give", x), R("food_end", x)],
        outro(x),
    ]
    qa = kindq(a, b) + [
        (f"How many {f} did {a.name} have at first?", f"{a.name} had {NUM[n1]} {f}."),
        (f"How many {f} did {a.name} give to {b.name}?", f"{a.name} gave {NUM[n2]} to {b.name}."),
        (f"How many {f} did {a.name} have left?", f"{a.name} had {NUM[n3]} left."),
        (f"Who was hungry?", f"{b.name} was hungry."),
        (f"What did they eat?", f"They ate {f}."),
    ]
    return P, qa


def s_task(x):
    a, b, o, p2, p3 = x["a"], x["b"], x["o"], x["p2"], x["p3"]
    x["p3_cap"] = cap(p3.the)
    P = [intro(x), [R("coach_in", x), R("task_fetch", x)], W(x) + [R("task_go", x)]]
    helped = chance(0.7)
    if helped:
        P[-1].append(R("task_prob", x))
    P += [[R("task_done", x), R("task_praise", x)], outro(x)]
    qa = kindq(a) + [
        (
            f"What did the coach ask {a.name} to bring?",
            f"The coach asked {a.name} to bring {o.the}.",
        ),
        (f"Where did {a.name} take {o.the}?", f"{a.name} took it to {p3.the}."),
        (f"Where did {o.the} come from?", f"It came from {p2.the}."),
        (f"Who gave {a.name} a task?", f"The coach gave {a.name} a task."),
        (f"Where is {o.the} now?", f"{o.The} is {p3.at}."),
    ]
    if helped:
        qa.append((f"Who helped {a.name}?", f"{b.name} helped {a.name}."))
    return P, qa


def s_lamp(x):
    a, b, p, c = x["a"], x["b"], x["p"], x["c"]
    x["o"].noun = pick(["ladder", "rope", "brush", "cloth"])
    x["o"].a = an(x["o"].col + " " + x["o"].noun)
    P = [
        intro(x),
        [R("lamp_out", x), R("lamp_dark", x)],
        [R("lamp_why", x), R("lamp_fix", x), R("lamp_end", x)],
        outro(x),
    ]
    qa = kindq(a, b) + [
        (f"Where was the lamp?", f"The lamp was {p.at}."),
        (f"Where is the lamp?", f"The lamp is {p.at}."),
        (f"What colour was the lamp?", f"The lamp was {c}."),
        ("Was it dark?", "Yes, it was dark, because the lamp went out."),
        ("Did the lamp shine again?", f"Yes, the lamp shone {c} again."),
    ]
    return P, qa


def s_bridge(x):
    a, b = x["a"], x["b"]
    n = rnd.randint(3, 8)
    tc = pick(TILECOL)
    x.update(n1=NUM[rnd.randint(2, 6)], n2=NUM[n], n2_cap=cap(NUM[n]), tc=tc, count=count_to(n))
    P = [
        intro(x),
        [R("bridge_break", x), R("bridge_need", x)],
        W(x) + [R("bridge_build", x), R("bridge_end", x)],
        outro(x),
    ]
    qa = kindq(a, b) + [
        ("How many tiles did they use?", f"They used {NUM[n]} tiles."),
        ("What colour were the tiles?", f"The tiles were {tc}."),
        ("What broke?", "The bridge broke."),
        ("Why did the bridge break?", "The river was too strong."),
    ]
    return P, qa


TARGETS = [
    "lamp",
    "well",
    "gate",
    "bell",
    "treasure box",
    "old tree",
    "little door",
    "stone",
    "garden",
    "tower",
    "bridge",
    "fountain",
    "bench",
    "sign",
    "mill",
]


def dirfact(t, tc, n, d):
    return pick(
        [
            f"{cap(steps(n))} {d} of the {tc} tile is the {t}.",
            f"The {t} is {steps(n)} {d} of the {tc} tile.",
            f"Go to the {tc} tile and walk {steps(n)} {d} to find the {t}.",
        ]
    )


def s_dir(x):
    a, b = x["a"], x["b"]
    n = rnd.randint(1, 7)
    d = pick(DIRS)
    tc = pick(TILECOL)
    t = pick(TARGETS)
    x.update(
        t=t, tc=tc, n1=steps(n), d1=d, dd=d, d2=OPP[d], fact=dirfact(t, tc, n, d), count=count_to(n)
    )
    P = [
        intro(x),
        W(x) + [R("dir_intro", x), R("dir_walk", x), R("dir_found", x)],
        ([R("dir_back", x)] if chance(0.7) else []),
        outro(x),
    ]
    qa = (
        kindq(a, b)
        + [(f"Where is the {t}?", f"The {t} is {steps(n)} {d} of the {tc} tile.")] * 3
        + [
            (f"How many steps is it from the {tc} tile to the {t}?", f"It is {steps(n)}."),
            (f"Which way is the {t} from the {tc} tile?", f"The {t} is {d} of the {tc} tile."),
            (f"How do you get from the {t} to the {tc} tile?", f"Walk {steps(n)} {OPP[d]}."),
            (f"What did {a.name} find?", f"{a.name} found the {t}."),
        ]
    )
    return P, qa


def s_newfriend(x):
    a, b, o, p = x["a"], x["b"], x["o"], x["p"]
    P = [
        intro(x, False) + [R("nf_lone", x)],
        W(x) + [R("nf_meet", x), R("nf_reply", x), R("nf_play", x)],
        outro(x),
    ]
    qa = kindq(a, b) + [
        (f"Who did {a.name} meet?", f"{a.name} met {b.name} the {b.kind}."),
        (f"What did they play with?", f"They played with {o.the}."),
        (f"Whose {o.noun} was it?", f"It was {b.name}'s {o.noun}."),
        (f"What colour was the {o.noun}?", f"The {o.noun} was {o.col}."),
    ]
    return P, qa


def s_seed(x):
    a, b, p, c = x["a"], x["b"], x["p"], x["c"]
    n = rnd.randint(2, 9)
    fl = pick(FLOWERS)
    fls = fl[:-1] + "ies" if fl.endswith("y") else fl + "s"
    x.update(n1=NUM[n], fl=fl, fls=fls)
    P = [
        intro(x),
        [R("seed_plant", x), R("seed_wait", x), R("seed_help", x)],
        W(x) + [R("seed_grow", x)],
        outro(x),
    ]
    qa = kindq(a, b) + [
        (f"How many seeds did {a.name} plant?", f"{a.name} planted {NUM[n]} seeds."),
        (f"Where did {a.name} plant the seeds?", f"{a.name} planted them {p.at}."),
        (f"What colour were the {fls}?", f"The {fls} were {c}."),
        ("What did the seeds need?", "The seeds needed water and time."),
        (f"What grew {p.at}?", f"{cap(NUM[n])} {c} {fls} grew there."),
    ]
    return P, qa


def s_head(x):
    a, b = x["a"], x["b"]
    s = rnd.sample(COL, 3)
    w1 = pick(OBJ + COL)
    w2 = pick(OBJ)
    x.update(s1=s[0], s2=s[1], s3=s[2], w1=w1, w2=w2)
    prob = R("head_prob", x)
    if "..." in prob:
        prev, ans, what = w1, w2, "word"
    elif f"{s[0]}, {s[1]}. " in prob or f'{s[0]}, {s[1]}."' in prob:
        prev, ans, what = s[1], s[2], "tile"
    else:
        prev, ans, what = s[0], s[1], "tile"
    if what == "tile":
        ans_is, prev_is = f"the {ans} tile", f"the {prev} tile"
    else:
        ans_is, prev_is = f'"{ans}"', f'"{prev}"'
    t = pick(
        [
            f"{a.name} looked back. Earlier there was {prev_is}, and after {prev_is} came {ans_is}. \"So the next {what} is {ans_is if what=='word' else ans}!\" said {a.name}.",
            f'The head looked back and found {prev_is}. After {prev_is} came {ans_is}. "It is {ans_is}!" said {a.name}.',
            f"\"Look back,\" said {b.name}. {a.name} looked back, saw {prev_is}, and looked one step on. There was {ans_is}. \"The answer is {ans_is if what=='word' else ans},\" said {a.name}.",
        ]
    )
    P = [
        intro(x),
        [R("head_in", x)],
        [
            prob,
            t,
            pick(
                [
                    f'"Right!" said the coach. "What came once can come again."',
                    f'"That is right," said the coach. "You looked back before you spoke."',
                    f'The coach was pleased. "Now you know how a head works," said the coach.',
                ]
            ),
        ],
        outro(x),
    ]
    qa = kindq(a, b) + [
        (
            f"What came next?",
            f"{cap(ans_is)} came next." if what == "tile" else f"The word {ans_is} came next.",
        ),
        (f"What came after {prev_is}?", f"After {prev_is} came {ans_is}."),
        ("What does a head do?", "A head looks back and carries what it finds to the front."),
    ]
    return P, qa


def s_river(x):
    a = x["a"]
    o1 = Ob()
    o2 = Ob([o1])
    tk = made_name() if chance(0.4) else pick([n for n in IT + SHE + HE if n != a.name])
    x.update(tk=tk, o1=o1, o2=o2, k=pick(ANIMALS), o1_cap=cap(o1.a))
    P = [
        intro(x, False),
        W(x) + [R("riv_in", x), R("riv_l1", x), R("riv_l2", x), R("riv_top", x)],
        [R("riv_end", x)],
    ]
    if chance(0.5):
        P[-1].append(
            pick(
                [
                    f"{a.name} went home and thought about {tk}.",
                    "And the river ran on and on.",
                    f'"Good luck, {tk}!" called {a.name}.',
                    "The end.",
                ]
            )
        )
    qa = kindq(a) + [
        (f"What did {tk} get on the first layer?", f"{tk} got {o1.a}."),
        (f"What did {tk} get on the second layer?", f"{tk} got {o2.a}."),
        (f"Who is {tk}?", f"{tk} is a token in the river."),
        (f"What colour was the {o1.noun}?", f"The {o1.noun} was {o1.col}."),
        (f"What colour was the {o2.noun}?", f"The {o2.noun} was {o2.col}."),
    ]
    return P, qa


def s_storm(x):
    a, b, o = x["a"], x["b"], x["o"]
    o.noun = "umbrella"
    o.full = o.col + " umbrella"
    o.a = an(o.full)
    o.the = "the " + o.full
    o.noun2 = "umbrella"
    P = [
        intro(x),
        [R("storm_in", x), R("storm_fear", x)],
        [R("storm_help", x), R("thanks", x), R("storm_end", x)],
        outro(x),
    ]
    qa = kindq(a, b) + [
        (f"Who was afraid?", f"{a.name} was afraid of the storm."),
        (f"Who helped {a.name}?", f"{b.name} helped {a.name}."),
        ("What was the weather like?", "There was a big storm."),
    ]
    return P, qa


def s_race(x):
    a, b, p, p2 = x["a"], x["b"], x["p"], x["p2"]
    mid = R("race_mid", x)
    both = "helped" in mid
    P = [
        intro(x),
        W(x) + [R("race_in", x)],
        [mid, R("race_end2" if both else "race_end1", x)],
        outro(x),
    ]
    qa = kindq(a, b) + [
        (
            "Who won the race?",
            f"{a.name} and {b.name} both won." if both else f"{a.name} won the race.",
        ),
        ("Where did the race end?", f"The race ended at {p2.the}."),
        ("Where did the race begin?", f"The race began at {p.the}."),
    ]
    if not both:
        qa.append(("Who came second?", f"{b.name} came second."))
    return P, qa


def s_gift(x):
    a, b, o = x["a"], x["b"], x["o"]
    x["o_cap"] = cap(o.a)
    P = [intro(x), W(x) + [R("gift_in", x), R("gift_make", x)], [R("gift_give", x)], outro(x)]
    qa = kindq(a, b) + [
        (f"What did {a.name} give to {b.name}?", f"{a.name} gave {b.name} {o.a}."),
        ("Whose birthday was it?", f"It was {b.name}'s birthday."),
        (f"What colour was the {o.noun}?", f"The {o.noun} was {o.col}."),
        (f"Who has {o.the} now?", f"{b.name} has {o.the}."),
    ]
    return P, qa


def s_pixel(x):
    a, b = x["a"], x["b"]
    k = pick(ANIMALS + ["house", "lamp", "tree", "flower", "boat", "star"])
    c1, c2 = rnd.sample(COL, 2)
    x.update(k=an(k), k_the="the " + k, c1=c1, c2=c2)
    P = [
        intro(x),
        [R("pix_in", x), R("pix_wrong", x)],
        [R("pix_talk", x), R("pix_fix", x), R("pix_end", x)],
        outro(x),
    ]
    qa = kindq(a, b) + [
        ("What was the picture of?", f"It was a picture of {an(k)}."),
        ("What colour was the pixel at first?", f"At first the pixel was {c2}."),
        ("What colour was the pixel at the end?", f"At the end the pixel was {c1}."),
    ]
    return P, qa


def s_bed(x):
    a, b = x["a"], x["b"]
    n = rnd.randint(4, 10)
    o2 = Ob([x["o"]])
    k = pick(ANIMALS)
    x.update(
        things=pick(["sheep", "stars", "lamps", "tiles", "tokens", "clouds"]),
        count=count_to(n),
        o2=o2,
        k=an(k),
    )
    h = R("bed_help", x)
    P = [intro(x), W(x) + [R("bed_in", x), R("bed_try", x)], [h, R("bed_end", x)]]
    qa = kindq(a, b) + [
        ("Who could not sleep?", f"{a.name} could not sleep."),
        (f"Who helped {a.name} to sleep?", f"{b.name} helped {a.name}."),
    ]
    if "told" in h:
        qa += [(f"What was {b.name}'s story about?", f"It was about {an(k)} with {o2.a}.")] * 2
    return P, qa


def s_stuck(x):
    a, b, o = x["a"], x["b"], x["o"]
    x["ladder"] = pick(["ladder", "rope", "pole"])
    P = [
        intro(x),
        W(x) + [R("stuck_in", x), R("stuck_try", x)],
        [R("stuck_help", x), R("thanks", x)],
        outro(x),
    ]
    qa = kindq(a, b) + [
        ("What got stuck?", f"{o.The} got stuck."),
        (f"Who helped {a.name}?", f"{b.name} the {b.kind} helped {a.name}."),
        (f"What colour was the {o.noun}?", f"The {o.noun} was {o.col}."),
        (f"Whose {o.noun} was it?", f"It was {a.name}'s {o.noun}."),
    ]
    return P, qa


def s_mistake(x):
    a, b, o, spot = x["a"], x["b"], x["o"], x["spot"]
    P = [
        intro(x),
        [R("mis_in", x), R("mis_hide", x)],
        [R("mis_ask", x), R("mis_tell", x), R("mis_end", x)],
        outro(x),
    ]
    qa = kindq(a, b) + [
        (f"Who broke {o.the}?", f"{a.name} broke {o.the}."),
        (f"Where did {a.name} hide {o.the}?", f"{a.name} hid it {spot}."),
        (f"Whose {o.noun} was it?", f"It was {b.name}'s {o.noun}."),
        (f"Where is {o.the}?", f"{o.The} is {spot}."),
    ]
    return P, qa


def s_cold(x):
    a, b, c = x["a"], x["b"], x["c"]
    w = pick(["scarf", "hat", "coat", "blanket"])
    x.update(w=w, w_cap=cap(w), n1=NUM[rnd.randint(2, 9)])
    P = [
        intro(x),
        [R("cold_in", x), R("cold_make", x)],
        [R("cold_end", x)] + ([R("thanks", x)] if chance(0.5) else []),
        outro(x),
    ]
    qa = kindq(a, b) + [
        (f"What did {a.name} make for {b.name}?", f"{a.name} made {an(c + ' ' + w)}."),
        (f"Who was cold?", f"{b.name} was cold."),
        (f"What colour was the {w}?", f"The {w} was {c}."),
    ]
    return P, qa


MSGS = [
    "Come and see me soon.",
    "You are my best friend.",
    "There will be a party in the garden.",
    "The lamp is shining again.",
    "I have a surprise for you.",
    "Thank you for your help.",
    "The river is calm and the bridge is open.",
    "I miss you.",
    "Please bring some cake.",
]


def s_letter(x):
    a, b, p3, c = x["a"], x["b"], x["p3"], x["c"]
    msg = (
        pick(MSGS)
        if chance(0.5)
        else pick(
            [
                f"Please bring {an(pick(COL))} {pick(OBJ)}.",
                f"Meet me {pick(PLACES)[1]}.",
                f"I found {an(pick(COL))} {pick(OBJ)} {pick(SPOTS)}.",
            ]
        )
    )
    x["msg"] = msg
    P = [intro(x, False), W(x) + [R("let_in", x), R("let_way", x)], [R("let_read", x)], outro(x)]
    qa = kindq(a) + [
        (f"Who got the letter?", f"{b.name} got the letter."),
        (f"Where did {b.name} live?", f"{b.name} lived {p3.at}."),
        ("What did the letter say?", f'The letter said, "{msg}"'),
        ("Who carried the letter?", f"{a.name} carried the letter."),
    ]
    return P, qa


def s_trade(x):
    a, b = x["a"], x["b"]
    o1 = Ob()
    o2 = Ob([o1])
    x.update(o1=o1, o2=o2, o=o2)
    P = [intro(x), W(x) + [R("tr_in", x), R("tr_do", x), R("tr_end", x)], outro(x)]
    qa = kindq(a, b) + [
        (f"Who has {o1.the} now?", f"{b.name} has {o1.the} now."),
        (f"Who has {o2.the} now?", f"{a.name} has {o2.the} now."),
        (f"Who had {o1.the} at first?", f"{a.name} had {o1.the} at first."),
        (f"What did {a.name} get?", f"{a.name} got {o2.the}."),
        (f"What did {b.name} get?", f"{b.name} got {o1.the}."),
    ]
    return P, qa


def s_path(x):
    a, b, p2, p3 = x["a"], x["b"], x["p2"], x["p3"]
    c1, c2 = rnd.sample(COL, 2)
    x.update(c1=c1, c2=c2, n=pick(["two", "three", "four"]))
    P = [
        intro(x),
        [R("path_in", x), R("path_tell", x)],
        W(x) + [R("path_go", x), R("thanks", x)],
        outro(x),
    ]
    qa = kindq(a, b) + [
        (f"Where do the {c1} lamps go?", f"The {c1} lamps go to {p2.the}."),
        (f"Where do the {c2} lamps go?", f"The {c2} lamps go to {p3.the}."),
        (f"Which lamps did {a.name} follow?", f"{a.name} followed the {c1} lamps."),
        (f"Where did {a.name} want to go?", f"{a.name} wanted to go to {p2.the}."),
    ]
    return P, qa


def s_song(x):
    a, b = x["a"], x["b"]
    c = Ch(avoid=[a, b])
    o1, o2 = Ob(), Ob()
    i1, i2 = rnd.sample(["drum", "flute", "bell", "fiddle", "horn", "harp", "whistle"], 2)
    o1.noun, o2.noun = i1, i2
    for o in (o1, o2):
        o.full = o.col + " " + o.noun
        o.a = an(o.full)
        o.the = "the " + o.full
    x.update(c=c, o1=o1, o2=o2)
    P = [
        intro(x),
        [R("song_in", x), R("song_who", x), R("song_prob", x)],
        [R("song_end", x)],
        outro(x),
    ]
    qa = kindq(a, b, c) + [
        (f"Who played {o1.the}?", f"{a.name} played {o1.the}."),
        (f"Who played {o2.the}?", f"{b.name} played {o2.the}."),
        ("Who sang?", f"{c.name} the {c.kind} sang."),
    ]
    return P, qa


PLOTS = [
    s_lost,
    s_lost,
    s_food,
    s_task,
    s_task,
    s_lamp,
    s_bridge,
    s_dir,
    s_dir,
    s_newfriend,
    s_seed,
    s_head,
    s_river,
    s_storm,
    s_race,
    s_gift,
    s_pixel,
    s_bed,
    s_stuck,
    s_mistake,
    s_cold,
    s_letter,
    s_trade,
    s_path,
    s_song,
]


def story(a=None, plot=None):
    x = base(a)
    P, qa = (plot or pick(PLOTS))(x)
    sep = "\n" if chance(0.75) else " "
    return sep.join(" ".join(p) for p in P if p), qa, x


# ------------------------------------------------------- facts of the map, QA
CANON = [
    (
        ["Where is the lamp?", "Where does the lamp stand?"],
        ["The lamp is two steps east of the red tile."],
    ),
    (["Where is the red tile?"], ["The red tile is in the middle of the garden."]),
    (["Where is the garden?"], ["The garden is north of the old bridge."]),
    (
        ["Where is the bridge?", "Where is the old bridge?"],
        ["The old bridge goes over the river of tokens."],
    ),
    (
        ["Where is the coach?", "Where does the coach sit?"],
        ["The coach sits in the square and hands out tasks."],
    ),
    (
        ["Where is the tower?", "Where is the tall tower?"],
        ["The tall tower is three steps west of the square."],
    ),
    (["Where is the pixel field?"], ["The pixel field is south of the river."]),
    (
        ["What is the map?", "What is this place?", "Tell me about the map."],
        [
            "The map is a small world made of pixels and tiles.",
            "The map is a small world. It has tiles, layers, lamps, a garden and a river of tokens.",
        ],
    ),
    (
        ["What is a token?", "What are tokens?"],
        [
            "A token is a small piece of a word. Tokens float down the river.",
            "A token is a small piece of text. The river of tokens carries it from layer to layer.",
        ],
    ),
    (
        ["What is a layer?", "What are layers?"],
        [
            "A layer is one floor of the map. Tokens pass through every layer, from the first to the top.",
            "A layer is a step on the way up. Each token learns something on each layer.",
        ],
    ),
    (
        ["What is a head?", "What does a head do?", "What are heads?"],
        [
            "A head looks back and carries what it finds to the front.",
            "A head is a small worker on a layer. It looks back at earlier tokens and brings back what is needed.",
        ],
    ),
    (
        ["What is an agent?", "What does an agent do?", "What are agents?"],
        [
            "An agent is a small helper. It gets a task from the coach and does it step by step.",
            "An agent walks on the map and does tasks.",
        ],
    ),
    (
        ["What is a pixel?", "What are pixels?"],
        ["A pixel is a tiny dot of colour. Many pixels make a picture."],
    ),
    (
        ["What is a tile?", "What are tiles?"],
        ["A tile is a small square of the map. You can stand on it and count your steps."],
    ),
    (
        ["What does the coach do?", "Who is the coach?"],
        [
            "The coach hands out tasks and says well done when a task is finished.",
            "The coach is the one who gives tasks to the agents of the map.",
        ],
    ),
    (
        ["What is the river of tokens?", "What is in the river?"],
        [
            "The river of tokens carries small pieces of words from layer to layer.",
            "Tokens float in the river, one after the other.",
        ],
    ),
    (
        ["What is attention?"],
        ["Attention is looking back at what came before and choosing what matters."],
    ),
    (
        ["What does a lamp do?", "What is a lamp?"],
        ["A lamp gives light, so that everyone can find the way."],
    ),
    (["What is a model?"], ["A model reads tokens and guesses the next one."]),
    (["What is a seedling?"], ["A seedling is a very young plant. It is small, but it can grow."]),
    (["What do seeds need?", "What does a plant need?"], ["Seeds need water, light and time."]),
    (["What is the opposite of north?"], ["The opposite of north is south."]),
    (["What is the opposite of south?"], ["The opposite of south is north."]),
    (["What is the opposite of east?"], ["The opposite of east is west."]),
    (["What is the opposite of west?"], ["The opposite of west is east."]),
    (["What colour is the sky?"], ["The sky is blue."]),
    (["What colour is snow?"], ["Snow is white."]),
    (["What colour is grass?"], ["Grass is green."]),
    (["What colour is the sun?"], ["The sun is yellow."]),
    (["What falls from the clouds?"], ["Rain falls from the clouds."]),
    (["When do the stars come out?"], ["The stars come out at night."]),
    (["Where do fish live?"], ["Fish live in water."]),
    (["What do bees make?"], ["Bees make honey."]),
    (["What do rabbits eat?"], ["Rabbits eat carrots and grass."]),
    (["What do birds do?"], ["Birds fly and sing."]),
    (["What does a cat say?"], ["A cat says meow."]),
    (["What does a dog say?"], ["A dog says woof."]),
    (["What is a friend?"], ["A friend is someone who helps you and likes to be with you."]),
    (["Why should we share?"], ["We share because it makes everyone happy."]),
    (["What do you do when you are lost?"], ["I look back, and I ask a friend for help."]),
]


def canon():
    q, a = pick(CANON)
    return pick(q), pick(a)


def arith():
    who = Ch()
    f1, f = pick(FOOD)
    n = rnd.randint(1, 8)
    m = rnd.randint(1, 8)
    pl = lambda k: f1 if k == 1 else f
    r = rnd.random()
    if r < 0.4:
        return (
            f"{who.name} has {NUM[n]} {pl(n)}. {who.name} gets {NUM[m]} more.",
            f"How many {f} does {who.name} have?",
            f"{who.name} has {NUM[n+m]} {pl(n+m)}.",
        )
    if r < 0.75:
        n, m = max(n, m) + 1, min(n, m)
        return (
            f"{who.name} has {NUM[n]} {pl(n)}. {who.name} gives away {NUM[m]}.",
            f"How many {f} are left?",
            f"{cap(NUM[n-m])} {pl(n-m)} " + ("is" if n - m == 1 else "are") + " left.",
        )
    return "", f"How much is {NUM[n]} and {NUM[m]}?", f"{cap(NUM[n])} and {NUM[m]} is {NUM[n+m]}."


def walkq():
    tc = pick(TILECOL)
    n = rnd.randint(1, 6)
    d = pick(DIRS)
    if chance(0.5):
        return (
            f"You stand on the {tc} tile. You walk {steps(n)} {d} and {steps(n)} {OPP[d]}.",
            "Where are you now?",
            f"You are back on the {tc} tile.",
        )
    m = rnd.randint(1, 6)
    return (
        f"You stand on the {tc} tile. You walk {steps(n)} {d} and then {steps(m)} {d}.",
        "Where are you now?",
        f"You are {steps(n+m)} {d} of the {tc} tile.",
    )


def facts_doc():
    """A few facts about a place, then questions. Answers need looking back."""
    fs, qa = [], []
    k = rnd.randint(2, 5)
    used = set()
    chs = []
    while len(fs) < k:
        r = rnd.random()
        if r < 0.35:
            t, tc, n, d = pick(TARGETS), pick(TILECOL), rnd.randint(1, 7), pick(DIRS)
            if t in used:
                continue
            used.add(t)
            fs.append(dirfact(t, tc, n, d))
            A = f"The {t} is {steps(n)} {d} of the {tc} tile."
            qa += [(f"Where is the {t}?", A)] * 2 + [
                (
                    f"What is {steps(n)} {d} of the {tc} tile?",
                    f"The {t} is {steps(n)} {d} of the {tc} tile.",
                ),
                (f"Which tile is near the {t}?", f"The {tc} tile is near the {t}."),
            ]
        elif r < 0.6:
            c = Ch(avoid=chs)
            chs.append(c)
            o = Ob()
            if o.noun in used:
                continue
            used.add(o.noun)
            fs.append(
                pick(
                    [
                        f"{c.name} the {c.kind} has {o.a}.",
                        f"{c.name} is {c.a_desc} and has {o.a}.",
                        f"{o.The} belongs to {c.name} the {c.kind}.",
                    ]
                )
            )
            qa += [
                (f"Who has {o.the}?", f"{c.name} has {o.the}."),
                (f"What does {c.name} have?", f"{c.name} has {o.a}."),
                (f"Who is {c.name}?", f"{c.name} is {c.a_kind}."),
                (f"What colour is the {o.noun}?", f"The {o.noun} is {o.col}."),
            ]
        elif r < 0.85:
            o, sp = Ob(), pick(SPOTS)
            if o.noun in used or sp in used:
                continue
            used.add(o.noun)
            used.add(sp)
            fs.append(
                pick([f"{o.The} is {sp}.", f"There is {o.a} {sp}.", f"{cap(sp)} there is {o.a}."])
            )
            qa += [
                (f"Where is {o.the}?", f"{o.The} is {sp}."),
                (f"Where is the {o.noun}?", f"The {o.noun} is {sp}."),
                (f"What colour is the {o.noun}?", f"The {o.noun} is {o.col}."),
                (f"What is {sp}?", f"{o.The} is {sp}."),
            ]
        else:
            c = Ch(avoid=chs)
            chs.append(c)
            p = Pl([])
            fs.append(
                pick(
                    [f"{c.name} the {c.kind} lives {p.at}.", f"{p.At} lives {c.name}, {c.a_desc}."]
                )
            )
            qa += [(f"Where does {c.name} live?", f"{c.name} lives {p.at}.")] * 2 + [
                (f"Who lives {p.at}?", f"{c.name} the {c.kind} lives {p.at}.")
            ]
    return fs, qa


def sample_qa(qa, n):
    out, seen = [], set()
    for q, a in rnd.sample(qa, len(qa)):
        if q in seen:
            continue
        seen.add(q)
        out.append((q, a))
        if len(out) == n:
            break
    return out


def qa_line(q, a):
    return f"Q: {q} A: {a}"


# ----------------------------------------------------------------------- chat
SYS = [
    "You are Seedling, a small and friendly model.",
    "You are a helpful assistant.",
    "You are Seedling. Answer in short sentences.",
    "You are a kind helper who lives on the map.",
    "Tell short stories and answer simple questions.",
]
HELLO = [
    "Hello!",
    "Hello",
    "Hi",
    "Hi!",
    "Hi there!",
    "Hey",
    "Good morning!",
    "Good evening.",
    "Hello, who is there?",
    "hello",
    "hi",
]
HELLO_A = [
    "Hello! I am Seedling. What would you like to hear?",
    "Hello! It is nice to see you on the map.",
    "Hi! Shall I tell you a story?",
    "Hello, friend! How can I help you today?",
    "Hi there! Ask me about the map, or ask me for a story.",
]
WHO = [
    "Who are you?",
    "What are you?",
    "What is your name?",
    "Tell me about yourself.",
    "Are you a person?",
    "Introduce yourself.",
]
WHO_A = [
    "I am Seedling, a very small model. I tell short stories about the map.",
    "My name is Seedling. I am small, but I like to tell stories.",
    "I am Seedling. I read tokens and guess the next one, one step at a time.",
]
CAN = [
    "What can you do?",
    "How can you help me?",
    "What do you know?",
    "Can you help me?",
    "Help me.",
]
CAN_A = [
    "I can tell short stories, count small numbers and answer simple questions about the map.",
    "I know stories about the map, its lamps, its tiles and its river of tokens. I am very small, so I do not know much more.",
    "I can tell you a story or answer a simple question. Just ask!",
]
FEEL = ["How are you?", "How are you today?", "Are you happy?", "How do you feel?"]
FEEL_A = [
    "I am well, thank you. The lamps are bright today.",
    "I am fine, thank you! How are you?",
    "I am happy. It is a good day on the map.",
]
THX = [
    "Thank you!",
    "Thanks",
    "Thank you, that was nice.",
    "That was a good story.",
    "Thanks a lot!",
]
THX_A = [
    "You are welcome!",
    "You are welcome. Come back soon!",
    "I am glad you liked it.",
    "It was nothing. I like to help.",
]
BYE = ["Goodbye!", "Bye", "Good night!", "See you tomorrow."]
BYE_A = [
    "Goodbye! The lamps will be on when you come back.",
    "Good night, and sleep well!",
    "See you soon on the map!",
]
UNK_N = [
    "the moon",
    "a king",
    "the stock market",
    "France",
    "a computer",
    "history",
    "the ocean floor",
    "chess",
    "a rocket",
    "the president",
    "physics",
    "a guitar",
    "football",
    "the internet",
    "a city",
    "Python",
    "Rust",
    "the number pi",
    "gravity",
    "a volcano",
    "money",
    "the news",
    "a car engine",
    "music theory",
    "the law",
]
UNK_Q = [
    "What is the capital of {}?",
    "Tell me about {}.",
    "How does {} work?",
    "Why is {} important?",
    "Who made {}?",
    "Explain {}.",
    "Can you write code for {}?",
    "What do you think about {}?",
    "How old is {}?",
    "Write an essay about {}.",
]
UNK_A = [
    "I do not know that. I am very small, and I only know the map.",
    "I am only a seedling, so I do not know that yet. Shall I tell you a story?",
    "That is too big for me. Ask me about the map, or ask me for a story.",
    "I do not know. But I can tell you a story about the map.",
]


def chat_turns(msgs):
    return "".join(f"<|im_start|>{r}\n{c}<|im_end|>\n" for r, c in msgs)


def chat_pair():
    """One (user, assistant) exchange, plus optional follow-ups from its facts."""
    r = rnd.random()
    if r < 0.36:
        a = Ch()
        y = rnd.random()
        if y < 0.35:
            u = pick(
                [
                    "Tell me a story about {0} named {1}.",
                    "Can you tell me a story about {0} named {1}?",
                    "Write a story about {0} called {1}.",
                    "I want a story about {0} named {1}.",
                    "Please tell a short story about {0} named {1}.",
                ]
            ).format(a.a_kind, a.name)
        elif y < 0.5:
            u = pick(
                [
                    "Tell me a story about {0}.",
                    "Can you tell me a story about {0}?",
                    "Write a short story about {0}.",
                ]
            ).format(a.a_kind)
        elif y < 0.65:
            u = pick(
                [
                    "Tell me a story about {0}.",
                    "Tell a story about {0} the {1}.",
                    "I want to hear about {0} the {1}.",
                ]
            ).format(a.name, a.kind)
        else:
            u = pick(
                [
                    "Tell me a story.",
                    "Tell me a story",
                    "Can you tell me a story?",
                    "I want to hear a story.",
                    "A story, please.",
                    "Please tell me a short story.",
                    "Write a story.",
                    "Tell me something nice.",
                ]
            )
        t, qa, x = story(a)
        return u, t, qa
    if r < 0.5:
        fs, qa = facts_doc()
        q, an_ = pick(qa)
        return " ".join(fs) + " " + q, an_, qa
    if r < 0.6:
        c, q, a = arith() if chance(0.6) else walkq()
        return (c + " " + q).strip(), a, []
    if r < 0.76:
        q, a = canon()
        return q, a, []
    if r < 0.8:
        return pick(HELLO), pick(HELLO_A), []
    if r < 0.83:
        return pick(WHO), pick(WHO_A), []
    if r < 0.86:
        return pick(CAN), pick(CAN_A), []
    if r < 0.875:
        return pick(FEEL), pick(FEEL_A), []
    if r < 0.895:
        return pick(UNK_Q).format(pick(UNK_N)), pick(UNK_A), []
    if r < 0.93:
        n = made_name() if chance(0.6) else pick(SHE + HE + IT)
        return (
            pick([f"My name is {n}.", f"I am {n}.", f"Hello, my name is {n}.", f"Hi, I am {n}!"]),
            pick(
                [
                    f"Hello, {n}! It is nice to meet you.",
                    f"Nice to meet you, {n}! I am Seedling.",
                    f"Welcome to the map, {n}!",
                ]
            ),
            [("What is my name?", f"Your name is {n}."), ("Who am I?", f"You are {n}.")],
        )
    if r < 0.95:
        n = rnd.randint(3, 12)
        return (
            pick(
                [f"Count to {NUM[n]}.", f"Can you count to {NUM[n]}?", f"Please count to {NUM[n]}."]
            ),
            count_to(n),
            [],
        )
    if r < 0.975:
        w, lst = pick(
            [
                ("animals", ANIMALS),
                ("colours", COL),
                ("flowers", [f for f in FLOWERS]),
                ("things", OBJ),
                ("foods", [f[0] for f in FOOD]),
                ("places on the map", ["the " + p[0] for p in PLACES]),
            ]
        )
        n = rnd.randint(2, 4)
        s = rnd.sample(lst, n)
        return f"Name {NUM[n]} {w}.", cap(", ".join(s[:-1]) + " and " + s[-1] + "."), []
    w = [pick(OBJ + COL + ANIMALS) for _ in range(rnd.randint(1, 4))]
    return (
        pick(
            [
                f"Say: {' '.join(w)}",
                f"Repeat after me: {' '.join(w)}",
                f"Please say \"{' '.join(w)}\".",
            ]
        ),
        " ".join(w),
        [],
    )


def chat_doc():
    m = [("system", pick(SYS))] if chance(0.35) else []
    n = 1 if chance(0.6) else 2 if chance(0.7) else 3
    for i in range(n):
        u, a, qa = chat_pair()
        m += [("user", u), ("assistant", a)]
        if qa and chance(0.35):
            for q, an_ in sample_qa(qa, rnd.randint(1, 2)):
                m += [("user", q), ("assistant", an_)]
        if len(a) > 300:
            break
    if chance(0.12):
        m += [("user", pick(THX)), ("assistant", pick(THX_A))]
    elif chance(0.06):
        m += [("user", pick(BYE)), ("assistant", pick(BYE_A))]
    return chat_turns(m)


def echo_doc():
    """What comes twice, in words that no other document has: whoever looks back for what followed
    the first time foresees the second. Heads that copy are wanted for nothing else so much."""
    r = rnd.random()
    if r < 0.4:
        w = [made_name().lower() for _ in range(rnd.randint(3, 10))]
        t = " ".join(w)
    elif r < 0.7:
        w = [pick(OBJ + COL + ANIMALS + FLOWERS) for _ in range(rnd.randint(4, 12))]
        t = ", ".join(w)
    else:
        a, b = Ch(), Ob()
        t = f"{made_name()} and {a.name} have {b.a} and {rnd.randint(2, 999)} {pick(OBJ)}s"
    times = 2 if chance(0.7) else 3
    who = pick([made_name(), pick(SHE + HE + IT)])
    shape = rnd.random()
    if shape < 0.35:
        return "\n".join([cap(t) + "."] * times)
    if shape < 0.7:
        again = pick(["Then {} said it again:", "{} sang it once more:", "And {} said the same:"])
        return "\n".join([f"{who} said: {t}."] + [f"{again.format(who)} {t}."] * (times - 1))
    user = pick(["Say this again: {}", "Repeat this: {}", "Copy: {}"]).format(t)
    return chat_turns([("user", user), ("assistant", t)])


def doc():
    if chance(ECHOES):
        return echo_doc()
    r = rnd.random()
    if r < 0.60:
        t, qa, _ = story()
        if chance(0.35):
            t += "\n" + "\n".join(qa_line(*q) for q in sample_qa(qa, rnd.randint(1, 4)))
        return t
    if r < 0.74:
        fs, qa = facts_doc()
        return (
            " ".join(fs) + "\n" + "\n".join(qa_line(*q) for q in sample_qa(qa, rnd.randint(2, 5)))
        )
    if r < 0.77:
        return "\n".join(qa_line(*canon()) for _ in range(rnd.randint(1, 4)))
    if r < 0.80:
        L = []
        for _ in range(rnd.randint(2, 4)):
            c, q, a = arith() if chance(0.6) else walkq()
            L.append((c + "\n" if c else "") + qa_line(q, a))
        return "\n".join(L)
    return chat_doc()


def main():
    global rnd
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="data")
    parser.add_argument("--bytes", type=int, default=30_000_000)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    rnd = random.Random(args.seed)
    seen, size, counts = set(), 0, [0, 0]
    files = [open(f"{args.out}/{name}.jsonl", "w") for name in ("train", "valid")]
    while size < args.bytes:
        text = doc().strip("\n")
        digest = hashlib.md5(text.encode()).digest()
        if digest in seen:
            continue
        seen.add(digest)
        size += len(text.encode()) + 1
        # 1 % by the hash of what it says, so that no document is in both.
        held = digest[0] * 256 + digest[1] < 655
        files[held].write(json.dumps({"text": text}) + "\n")
        counts[held] += 1
    for file in files:
        file.close()
    print(f"{size} bytes: {counts[0]} documents to learn, {counts[1]} held out")


if __name__ == "__main__":
    main()
