//! Options and variables that all commands share.

use crate::secrets::JwtSecret;
use crate::{Error, data_dir};
use clap::Args;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

/// The port of the server if none was chosen and it is free.
pub const DEFAULT_PORT: u16 = 3000;

/// Options of all commands: address, port, data folder, database and key.
#[derive(Args, Clone, Debug)]
pub struct Environment {
    /// Address that the server listens on. With any other than 127.0.0.1, other machines can reach the server; it has no TLS
    #[arg(
        long,
        env = "ANNALS_BIND",
        global = true,
        value_name = "ADDRESS",
        default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST)
    )]
    pub bind: IpAddr,
    /// TCP port; 0 for any free port [default: 3000, or the next free one if it is taken]
    #[arg(long, env = "ANNALS_PORT", global = true)]
    pub port: Option<u16>,
    /// Folder that keeps the cluster and the secrets between runs [default: .annals in the project's folder]
    #[arg(long, env = "ANNALS_DATA_DIR", global = true, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// Address of a database to use instead of a private cluster, with a role that owns the database and may create roles
    #[arg(
        long,
        env = "DATABASE_URL",
        global = true,
        hide_env_values = true,
        value_name = "URL"
    )]
    pub database_url: Option<String>,
    /// Key that signs the tokens (HS256, at least 32 bytes), instead of the one in the data folder
    #[arg(
        long,
        env = "JWT_SECRET",
        global = true,
        hide_env_values = true,
        value_name = "SECRET"
    )]
    pub jwt_secret: Option<String>,
}

impl Environment {
    /// The data folder, which may not exist yet.
    pub fn data_dir(&self) -> Result<PathBuf, Error> {
        data_dir::resolve(self.data_dir.as_deref())
    }

    /// The port of the server that a command calls: the chosen one, otherwise that of the server that runs with the data folder.
    pub fn port_of_server(&self) -> Result<u16, Error> {
        match self.port {
            Some(port) if port > 0 => Ok(port),
            _ => Ok(data_dir::port_of_server(&self.data_dir()?)?.unwrap_or(DEFAULT_PORT)),
        }
    }

    /// The key of the tokens. If it is kept in the data folder, the folder is created if it is missing.
    pub fn jwt_secret(&self) -> Result<JwtSecret, Error> {
        let data_dir = self.data_dir()?;
        if self.jwt_secret.is_none() {
            data_dir::create(&data_dir)?;
        }
        JwtSecret::load(self.jwt_secret.as_deref(), &data_dir)
    }
}
