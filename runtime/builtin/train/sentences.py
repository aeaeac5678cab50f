"""Hand-written plain sentences: praise, complaint and statements of fact, and business news.

The public sets are tweets, comments, reviews and subtitles. Plain statements of fact, and news of
growth, falls and appointments, hardly occur in them, so a small grammar written for this project
adds them. `{slot}` is filled from SLOTS, whose fillers stand between commas (`-` is the empty one);
every template gives at most PER_TEMPLATE sentences.
"""
import random
import re

NEGATIVE, NEUTRAL, POSITIVE = range(3)
PER_TEMPLATE = 36

SLOTS = {
    "thing": (
        "phone, laptop, camera, printer, keyboard, app, website, battery, screen, vacuum cleaner, car, "
        "bike, jacket, backpack, headphones, kettle, blender, watch, tablet, router, mattress, chair, "
        "sofa, game, book, film, album, lamp, toaster, monitor, speaker, charger, tent, suitcase, washing "
        "machine, coffee maker, software, update"
    ),
    "place": (
        "hotel, restaurant, café, museum, airport, apartment, gym, hospital, clinic, store, campsite, "
        "bar, bakery, spa, beach, resort, school, city centre, train station, fitness studio"
    ),
    "person": (
        "waiter, driver, receptionist, teacher, doctor, nurse, manager, salesman, plumber, guide, agent, "
        "technician, courier, landlord, dentist, mechanic, support agent, delivery man, flight attendant"
    ),
    "staff": "staff, team, crew, people at the desk, support team, waiters, drivers, nurses, sales people",
    "food": (
        "soup, pizza, steak, coffee, breakfast, fish, bread, pasta, salad, curry, dessert, burger, rice, "
        "cake, tea, chicken, sushi, main course"
    ),
    "event": (
        "concert, conference, workshop, course, flight, tour, stay, trip, match, lecture, wedding, party, "
        "talk, show, meeting, training, delivery"
    ),
    "part": (
        "camera, screen, battery, sound, quality, handle, zip, design, case, lens, software, menu, cable, "
        "interface, price, packaging, manual"
    ),
    "good": (
        "great, excellent, wonderful, fantastic, lovely, superb, brilliant, amazing, perfect, "
        "outstanding, impressive, delightful, terrific, awesome, beautiful, very good, really good, top "
        "notch, first class, a joy, a real pleasure"
    ),
    "bad": (
        "terrible, awful, horrible, dreadful, poor, disappointing, useless, lousy, appalling, pathetic, "
        "mediocre, atrocious, unacceptable, very bad, really bad, a mess, a disaster, a let-down, not "
        "good, below par"
    ),
    "goodfeat": (
        "works perfectly, is fast and reliable, is easy to use, does exactly what I need, lasts all day, "
        "looks stunning, feels solid, is worth every penny, exceeded my expectations, is well made, runs "
        "smoothly, never lets me down, saves me a lot of time, is comfortable and light, is a bargain"
    ),
    "badfeat": (
        "stopped working after a week, keeps crashing, broke on the first day, is slow and unreliable, is "
        "a waste of money, overheats all the time, does not work, is far too expensive, feels cheap, fell "
        "apart, never arrived, is impossible to set up, makes a horrible noise, loses the connection "
        "every few minutes, drains within an hour, arrived damaged, is not worth the price, did not last "
        "a month"
    ),
    "goodpers": (
        "friendly, helpful, polite, kind, patient, professional, attentive, welcoming, courteous, "
        "knowledgeable, efficient, cheerful"
    ),
    "badpers": (
        "rude, unfriendly, unhelpful, impatient, arrogant, careless, incompetent, dismissive, lazy, "
        "aggressive, indifferent, dishonest"
    ),
    "goodfood": (
        "delicious, tasty, fresh, excellent, perfectly cooked, wonderful, full of flavour, superb, hot "
        "and crisp"
    ),
    "badfood": (
        "cold, tasteless, overcooked, stale, greasy, burnt, bland, undercooked, inedible, soggy, too "
        "salty, dry as dust, disgusting, raw"
    ),
    "goodroom": "clean, bright, quiet, spotless, tidy, immaculate, cosy, spacious, comfortable, very well equipped",
    "badroom": "dirty, dark, noisy, filthy, tiny, damp, freezing cold, cramped, run-down, badly equipped",
    "adv": "very, really, extremely, quite, so, absolutely, incredibly, always, -",
    "firm": (
        "The company, The group, The manufacturer, The retailer, The bank, The airline, The operator, Our "
        "supplier, The publisher, The steel maker, The software firm, The shipyard, The insurer, The "
        "brewery, The start-up, The chain, Nordvik, Halden Oy, Marlow Foods, Kestrel Energy, Castelo "
        "Group, Tamarin Plc"
    ),
    "measure": (
        "sales, profit, net profit, operating profit, revenue, turnover, earnings, orders, order intake, "
        "exports, margins, output, cash flow, demand, traffic, market share, earnings per share, net "
        "sales, passenger numbers, bookings, subscriptions"
    ),
    "cost": (
        "losses, debt, costs, delays, complaints, staff turnover, defects, expenses, unemployment, "
        "emissions, the deficit, bad loans"
    ),
    "rose": "rose, grew, increased, climbed, jumped, improved, went up, surged, doubled, picked up",
    "fell": "fell, dropped, declined, decreased, shrank, slumped, went down, plunged, weakened, tumbled",
    "growth": "growth, increase, improvement, rise, gain, recovery, upturn",
    "fall": "fall, decline, drop, decrease, slump, loss, downturn",
    "stronga": "strong, solid, healthy, steady, impressive, rapid, clear, good, remarkable, marked",
    "weaka": "sharp, weak, steep, severe, poor, sudden, painful, disappointing, steady, clear",
    "cause": (
        "strong demand, a recent acquisition, new customers abroad, the new product line, "
        "higher volumes, the opening of new stores, new markets, efficient "
        "production, lower costs, the busy summer season"
    ),
    "badcause": (
        "weak demand, higher costs, the loss of a big customer, the strike, lower prices, rising interest "
        "rates, the closure of two plants, poor weather, a write-down, supply problems"
    ),
    "pct": "3 %, 5 percent, 12 %, 4.5 %, 18 percent, 31 %, 7 pct, 40 %, 2.1 %, a quarter, a third",
    "money": (
        "EUR 12 million, USD 3.4 mn, EUR 250,000, $80 million, GBP 7 m, EUR 1.2 bn, SEK 40 million, 45 "
        "million euros"
    ),
    "period": (
        "in the first quarter, last year, in 2007, in the third quarter, in December, this year, from a "
        "year earlier, in the second half, in January-March, compared with 2008, over the year, in the "
        "period"
    ),
    "city": (
        "Helsinki, Lisbon, Warsaw, Leeds, Lyon, Oslo, Turin, Chicago, Nairobi, Hamburg, Vilnius, Porto, "
        "Denver, Osaka"
    ),
    "name": "Anna, Peter, Maria, Johan, Ms Lind, Mr Okafor, Dr Silva, Tom, Elena, Mr Weber, Sofia, Karl",
    "role": (
        "chief executive, head of sales, finance director, member of the board, chairman, regional "
        "manager, auditor, project lead"
    ),
    "day": (
        "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday, tomorrow, 1 March, 15 June, the "
        "first of May, next week"
    ),
    "hour": "8, 9, 10, 11, noon, 2 pm, 3:30, half past six, 18:00, 7.45",
    "num": "two, three, four, 5, 6, 8, 10, 12, 24, 40, 150, 300",
    "object": (
        "report, form, invoice, key, document, parcel, contract, ticket, file, letter, package, ladder, "
        "table, receipt, letterbox"
    ),
    "room": (
        "kitchen, office, garage, lobby, hall, second floor, meeting room, storage room, library, car "
        "park, basement"
    ),
    "color": "blue, green, grey, black, white, red, brown, yellow",
    "material": "wood, steel, cotton, glass, plastic, paper, leather, aluminium",
}

TEMPLATES = {
    POSITIVE: """
I love this {thing}, the {part} is {good}.
Best. {thing}. Ever.|Best {place} ever!|The room was {goodroom} and {goodroom}.|The {staff} could not do enough for us.
The room was {goodroom} and the {food} was {goodfood}.|Our room was {goodroom}, the {place} is {good}.
The {person} was {goodpers} and everything was {goodroom}.|Quick service, {goodpers} {staff}, fair price.
I {adv} love my new {thing}.|The {thing} is {good}.|This {thing} {goodfeat}.
My {thing} {goodfeat}, I am very happy with it.
Great {thing}, highly recommended.|Best {thing} I have ever bought.|What a {good} {thing}!
Thank you for the {good} {event}.
The {part} is {good} and it {goodfeat}.|The {person} was {adv} {goodpers}.
The {staff} were {goodpers} and {goodpers}.
The {food} was {goodfood} and the {person} was {goodpers}.|The {food} was {adv} {goodfood}.
We had a {good} time at the {place}.
The {place} was clean and the {staff} were {goodpers}.|The {event} was {good}, we enjoyed every minute.
I would happily go back to this {place}.|Everything went smoothly, thanks to the {goodpers} {person}.
The {person} solved my problem in minutes.|I am so glad I bought this {thing}.
Not bad at all, this {thing} {goodfeat}.
I can't complain, the {event} was {good}.|No problems so far, the {thing} {goodfeat}.
The delivery was fast and the {thing} {goodfeat}.
I was worried about the {part}, but it is {good}.|The {place} is {good}, and the {food} is {goodfood}.
Well done, the {event} was {good}.
This made my day.|I could not be happier with the {event}.|The new update fixed all my problems.
Highly recommend this {place}!
You will not regret buying this {thing}.|My children adore this {thing}.|Five stars for the {person}.
{firm} said its {measure} {rose} by {pct} {period}.|{measure} {rose} {pct} {period} thanks to {cause}.
{measure} {rose} to {money} {period}.
The {stronga} {growth} was due to {cause}.|The {stronga} {growth} {period} came from {cause}.
{firm} reported {stronga} {growth} in {measure}.|{firm} turned a loss into a profit {period}.
{firm} won an order worth {money}.
{firm} raised its forecast after a {stronga} quarter.|{firm} reduced its {cost} by {pct} {period}.
{cost} {fell} by {pct} {period}.
{measure} were better than expected.|{firm} expects {measure} to improve {period}.
{firm} opened new stores and hired more people after record {measure}.
The result was a {stronga} {growth} of {pct}.|{firm} signed a profitable agreement that will create {num} jobs.
{measure} totalled {money}, up from {money} a year ago.|{firm} posted record {measure} {period}.
{firm} strengthened its position in {city}.
The share price {rose} after the good results.|{firm} increased its dividend {period}.
{firm} benefited from {cause}.
The project in {city} was finished ahead of time and below budget.
The pilot was a success and customers are happy.
Loss narrowed to {money} from {money}.|Thanks to {cause}, {measure} {rose} {period}.
""",
    NEGATIVE: """
I hate this {thing}, the {part} is {bad}.
Worst. {thing}. Ever.|Worst {place} ever!|The room was {badroom} and {badroom}.|The {staff} could not care less about us.
The room was {badroom} and the {food} was {badfood}.|Our room was {badroom}, the {place} is {bad}.
The {person} was {badpers} and everything was {badroom}.|Slow service, {badpers} {staff}, absurd price.
I {adv} regret buying this {thing}.|The {thing} is {bad}.|This {thing} {badfeat}.
My {thing} {badfeat}, I am very unhappy with it.
Terrible {thing}, do not buy it.|Worst {thing} I have ever bought.|What a {bad} {thing}!
I want my money back for the {event}.
The {part} is {bad} and it {badfeat}.|The {person} was {adv} {badpers}.
The {staff} were {badpers} and {badpers}.
The {food} was {badfood} and the {person} was {badpers}.|The {food} was {adv} {badfood}.
We had a {bad} time at the {place}.
The {place} was dirty and the {staff} were {badpers}.|The {event} was {bad}, a complete waste of time.
I will never go back to this {place}.|Nothing worked and the {badpers} {person} did not help.
The {person} ignored my problem for weeks.|I am so angry that I bought this {thing}.
Not great, this {thing} {badfeat}.
I can't recommend it, the {event} was {bad}.|I had nothing but problems, the {thing} {badfeat}.
The delivery was late and the {thing} {badfeat}.
I had high hopes for the {part}, but it is {bad}.|The {place} is {bad}, and the {food} is {badfood}.
Shame on you, the {event} was {bad}.
This ruined my day.|I could not be more disappointed with the {event}.|The new update broke everything.
Avoid this {place}!
You will regret buying this {thing}.|Nobody answers the phone and my refund is still missing.
One star for the {person}.
We waited two hours and nobody came.|My order never arrived.|The room smelled of smoke and the bed was broken.
The {thing} is not as good as they promised.|I am not happy with the {thing}.
The {person} was not {goodpers} at all.|The {food} was not {goodfood}.
{firm} said its {measure} {fell} by {pct} {period}.|{measure} {fell} {pct} {period} because of {badcause}.
{measure} {fell} to {money} {period}.
The {weaka} {fall} was due to {badcause}.|The {weaka} {fall} {period} came from {badcause}.
{firm} reported a {weaka} {fall} in {measure}.|{firm} swung to a loss of {money} {period}.
{firm} lost an order worth {money}.
{firm} cut its forecast after a {weaka} quarter.|{firm} saw its {cost} rise by {pct} {period}.
{cost} {rose} by {pct} {period}.
{measure} were worse than expected.|{firm} expects {measure} to weaken {period}.
{firm} will lay off {num} employees in {city}.
{firm} closes its plant in {city} and cuts {num} jobs.|{firm} issued a profit warning.
{firm} filed for bankruptcy {period}.
{measure} totalled {money}, down from {money} a year ago.|{firm} was fined {money} for safety breaches.
The fire destroyed the warehouse in {city}.
The share price {fell} after the poor results.|{firm} cancelled its dividend {period}.
{firm} suffered from {badcause}.
The project in {city} is late and over budget.|Operating loss widened to {money} from {money}.
Because of {badcause}, {measure} {fell} {period}.
""",
    NEUTRAL: """
The meeting is on {day} at {hour}.|The {event} starts at {hour} on {day}.|The {place} opens at {hour}.
The train to {city} leaves at {hour}.
The {place} is closed on {day}.|The {object} is in the {room}.|The {object} is on the table.
{name} works in {city}.|{name} lives near the {place}.
I bought a {thing} on {day}.|The {thing} is {color}.|The {thing} is made of {material}.
The box contains {num} screws and a manual.
The {thing} comes with a {part}.|The {thing} has {num} buttons.|The {thing} weighs {num} kilograms.
Please send the {object} to {name} by {day}.
Please sign the {object} and return it.|Where is the {object}?|What time does the {place} open?
How many people work at the {place}?
The bus stops in front of the {place}.|{name} has {num} brothers.|Water boils at 100 degrees.
The report has {num} pages.
The {event} takes place in {city}.|{name} will call you on {day}.|{name} asked for the {object}.
The {food} is served with bread.
The recipe needs {num} eggs and some flour.|The {place} has {num} rooms.|The {place} is next to the {place}.
Turn left at the {place}.
The {person} arrived at {hour}.|The {staff} wear {color} uniforms.|The {person} took the {object} to the {room}.
The door is {color}.|It is {num} kilometres to {city}.|The {object} was sent on {day}.
Your {object} number is {num}.|There are {num} chairs in the {room}.
The {part} can be changed in the settings.|Press the {color} button to start the {thing}.
The {thing} uses {num} batteries.|The lesson lasts {num} minutes.
I am going to {city} on {day}.|We moved to {city} {period}.|She wrote the {object} on {day}.
He is reading a book about {city}.|They had {food} for lunch.
The film is {num} minutes long.|The shop sells {material} tables.|Copy the {object} to the {room}.
The form must be filled in before {day}.
The {event} was moved to {day}.|The {event} will be held in the {room}.|My {thing} is on the desk.
I use my {thing} at the office.|I have a {thing} and a {thing}.
{firm} will publish its report on {day}.|{firm} is based in {city}.|{firm} employs {num} people in {city}.
{firm} has offices in {city} and {city}.
{name} has been appointed {role} of the firm.|{firm} appointed {name} as {role}.
{name} will become {role} on {day}.|{firm} was founded in {city} in 1987.
The annual meeting will be held in {city} on {day}.|{firm} makes {material} parts.
{firm} sells tables and lamps in {num} countries.|The deal is worth {money}.
The value of the contract was not disclosed.|The financial terms were not disclosed.
The shares are listed in {city}.|{firm} will move its office to {city}.
{firm} and {firm} signed a letter of intent.|The parties agreed not to disclose the price.
{firm} bought a site in {city} for {money}.|The new plant will be in {city}.
{measure} was {money} {period}.|{measure} came to {money} {period}, the same as a year earlier.
The total number of shares is {num} million.
{firm} serves customers in {city}.|The board consists of {num} members.|The work will begin {period}.
{firm} is a subsidiary of the group.
The ministry published the figures on {day}.|The survey was answered by {num} people.
The ship sails from {city} on {day}.|The contract runs until {day}.
The project covers {num} buildings in {city}.|{name} is {role} at the firm.|The office is on the {room} side.
The size of the room is {num} square metres.
""",
}



def fill(template: str, rng: random.Random) -> str:
    """One sentence of the template, with its first letter upper case."""

    def pick(match):
        value = rng.choice(SLOTS[match[1]].split(", "))
        return "" if value == "-" else value

    text = re.sub(r"\s+", " ", re.sub(r"\{(\w+)\}", pick, template)).strip()
    text = re.sub(r"\ba (?=[aeio])", "an ", text)
    return text[0].upper() + text[1:]


def vary(text: str, rng: random.Random) -> str:
    """Sometimes writes a sentence as people type it: no full stop, lower case, or spaced punctuation."""
    kind = rng.random()
    if kind < 0.10:
        return text.rstrip(".")
    if kind < 0.18:
        return text.lower()
    if kind < 0.28:
        return re.sub(r"([.,!?])(?=\s|$)", r" \1", text)
    if kind < 0.34:
        return re.sub(r"\.$", "!", text) if not text.endswith("?") else text
    return text


def generate(seed: int):
    """Yields (sentence, class), the same ones for the same seed."""
    rng = random.Random(seed)
    for label, block in TEMPLATES.items():
        for template in re.split(r"[|\n]", block.strip()):
            for text in sorted({fill(template, rng) for _ in range(PER_TEMPLATE)}):
                yield vary(text, rng), label
