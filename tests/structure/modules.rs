//! The modules of a crate and the paths that they name.

use proc_macro2::{TokenStream, TokenTree};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, Macro, Meta, UseTree};

/// One module: where it stands and what it names.
pub struct Module {
    /// Its path below the crate: `["sagas", "engine"]`.
    pub path: Vec<String>,
    /// Its file, below `src`.
    pub file: String,
    /// Every path of two names and more, and all that is imported, with `self` and `super` resolved to `crate`.
    pub paths: Vec<Vec<String>>,
    /// What it declares or imports by name.
    names: BTreeSet<String>,
}

/// The source of a crate, without its tests.
pub struct Source {
    pub modules: Vec<Module>,
}

impl Source {
    /// Reads a crate, beginning at its `lib.rs` or `main.rs`.
    pub fn of_crate(src: &Path) -> Self {
        let root = ["lib.rs", "main.rs"].map(|name| src.join(name)).into_iter().find(|file| file.exists());
        let root = root.unwrap_or_else(|| panic!("{} has neither lib.rs nor main.rs", src.display()));
        let mut source = Self { modules: Vec::new() };
        source.read(src, &root, src.to_owned(), Vec::new());
        source
    }

    /// Whether a module `name` stands directly in `folder`.
    pub fn stands(&self, folder: &[&str], name: &str) -> bool {
        let stands = |path: &[String]| path.len() > folder.len() && path.iter().zip(folder).all(|(a, b)| a == b);
        self.modules.iter().any(|module| stands(&module.path) && module.path[folder.len()] == name)
    }

    /// The modules directly in `folder` that are folders themselves.
    pub fn folders_below(&self, folder: &[&str]) -> BTreeSet<String> {
        let depth = folder.len();
        let deeper = self.modules.iter().filter(|module| module.path.len() > depth);
        let below = deeper.filter(|module| module.path.iter().zip(folder).all(|(a, b)| a == b));
        below.filter(|module| module.file.matches('/').count() > depth).map(|m| m.path[depth].clone()).collect()
    }

    /// Whether a path that begins with `name` stays within `module`: a type in scope, a declaration, or of the language.
    pub fn is_local(&self, module: &Module, name: &str) -> bool {
        name.starts_with(|c: char| c.is_uppercase()) || module.names.contains(name) || PRIMITIVES.contains(&name)
    }

    fn read(&mut self, src: &Path, file: &Path, children: PathBuf, path: Vec<String>) {
        let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let shown = file.strip_prefix(src).unwrap_or(file).display().to_string();
        self.visit_items(src, &parsed.items, &shown, &children, path);
    }

    fn visit_items(&mut self, src: &Path, items: &[Item], file: &str, children: &Path, path: Vec<String>) {
        let mut seen = Seen { at: path.clone(), paths: Vec::new(), names: BTreeSet::new(), inline: Vec::new() };
        items.iter().for_each(|item| seen.visit_item(item));
        let inline = std::mem::take(&mut seen.inline);
        self.modules.push(Module { path: path.clone(), file: file.to_owned(), paths: seen.paths, names: seen.names });
        for module in inline {
            let name = module.ident.to_string();
            let below: Vec<String> = path.iter().cloned().chain([name.clone()]).collect();
            if let Some((_, items)) = &module.content {
                self.visit_items(src, items, file, &children.join(&name), below);
                continue;
            }
            let (flat, folder) = (children.join(format!("{name}.rs")), children.join(&name).join("mod.rs"));
            let file = if flat.exists() { flat } else { folder };
            self.read(src, &file, children.join(&name), below);
        }
    }
}

/// Types of the language whose associated items are named without an import.
const PRIMITIVES: [&str; 14] =
    ["bool", "char", "f64", "i16", "i32", "i64", "str", "u128", "u16", "u32", "u64", "u8", "usize", "isize"];

struct Seen {
    at: Vec<String>,
    paths: Vec<Vec<String>>,
    names: BTreeSet<String>,
    inline: Vec<ItemMod>,
}

impl Seen {
    fn note(&mut self, path: Vec<String>) {
        let Some(first) = path.first() else { return };
        let above = path.iter().take_while(|name| *name == "super").count();
        let resolved = match first.as_str() {
            "super" | "self" => {
                let start = self.at.len().saturating_sub(above);
                let rest = path.into_iter().skip_while(|name| name == "super" || name == "self");
                ["crate".to_owned()].into_iter().chain(self.at[..start].iter().cloned()).chain(rest).collect()
            }
            _ => path,
        };
        self.paths.push(resolved);
    }

    fn note_use(&mut self, tree: &UseTree, mut prefix: Vec<String>) {
        match tree {
            UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.note_use(&path.tree, prefix);
            }
            UseTree::Group(group) => group.items.iter().for_each(|item| self.note_use(item, prefix.clone())),
            UseTree::Name(name) => {
                let name = name.ident.to_string();
                self.names.insert(if name == "self" {
                    prefix.last().cloned().unwrap_or_default()
                } else {
                    name.clone()
                });
                if name != "self" {
                    prefix.push(name);
                }
                self.note(prefix);
            }
            UseTree::Rename(rename) => {
                self.names.insert(rename.rename.to_string());
                prefix.push(rename.ident.to_string());
                self.note(prefix);
            }
            UseTree::Glob(_) => self.note(prefix),
        }
    }

    /// Paths among the arguments of a macro, which `syn` leaves as tokens.
    fn note_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.end(&mut path);
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.end(&mut path);
                    self.note_tokens(group.stream());
                    colons = 0;
                }
                _ => {
                    self.end(&mut path);
                    colons = 0;
                }
            }
        }
        self.end(&mut path);
    }

    fn end(&mut self, path: &mut Vec<String>) {
        let whole = std::mem::take(path);
        if whole.len() > 1 && ["crate", "super", "self"].contains(&whole[0].as_str()) {
            self.note(whole);
        }
    }
}

impl<'ast> Visit<'ast> for Seen {
    fn visit_item(&mut self, item: &'ast Item) {
        if attributes(item).iter().any(is_test) {
            return;
        }
        if let Some(name) = declared(item) {
            self.names.insert(name);
        }
        match item {
            Item::Use(item) => self.note_use(&item.tree, Vec::new()),
            Item::Mod(module) => self.inline.push(module.clone()),
            _ => visit::visit_item(self, item),
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            self.note(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_generic_param(&mut self, parameter: &'ast syn::GenericParam) {
        if let syn::GenericParam::Type(parameter) = parameter {
            self.names.insert(parameter.ident.to_string());
        }
        visit::visit_generic_param(self, parameter);
    }

    fn visit_macro(&mut self, invoked: &'ast Macro) {
        self.visit_path(&invoked.path);
        self.note_tokens(invoked.tokens.clone());
    }
}

fn is_test(attribute: &Attribute) -> bool {
    matches!(&attribute.meta, Meta::List(list) if list.path.is_ident("cfg") && list.tokens.to_string() == "test")
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn declared(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Mod(item) => &item.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}
